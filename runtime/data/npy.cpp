#include "runtime/data/npy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace weir {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::uint64_t largest_header = std::uint64_t{1} << 20;

std::optional<SourceType> element_type(std::string_view descr) {
  struct Entry {
    std::string_view descr;
    SourceType type;
  };
  static constexpr Entry entries[] = {
      {"|b1", SourceType::boolean}, {"|u1", SourceType::u8},  {"|i1", SourceType::i8},
      {"<i2", SourceType::i16},     {"<i4", SourceType::i32}, {"<i8", SourceType::i64},
      {"<f2", SourceType::f16},     {"<f4", SourceType::f32}, {"<f8", SourceType::f64},
  };
  for (const Entry& entry : entries)
    if (entry.descr == descr) return entry.type;
  return std::nullopt;
}

/// Just enough Python to read {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class DictParser {
 public:
  DictParser(const ByteReader& reader, std::string_view text) : reader_(reader), text_(text) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted("a key");
      expect(':');
      value(key);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!text_.empty()) fail("has something after the dict");
    if (!descr || !fortran_order || !shape) fail("needs the keys descr, fortran_order and shape");
  }

  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<Dims> shape;

 private:
  void value(const std::string& key) {
    if (key == "descr" && !descr) {
      skip_spaces();
      if (text_.starts_with('[')) reader_.fail("holds a structured array; save each field as an array of its own");
      descr = quoted("descr");
    } else if (key == "fortran_order" && !fortran_order) {
      fortran_order = boolean();
    } else if (key == "shape" && !shape) {
      shape = tuple();
    } else {
      fail("has an unknown or repeated key \"" + key + "\"");
    }
  }

  std::string quoted(std::string_view what) {
    skip_spaces();
    const char quote = text_.empty() ? '\0' : text_.front();
    const std::size_t end = quote == '\'' || quote == '"' ? text_.find(quote, 1) : std::string_view::npos;
    if (end == std::string_view::npos) fail(fmt::format("lacks {} in quotes", what));
    std::string result(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return result;
  }

  bool boolean() {
    skip_spaces();
    for (const bool candidate : {false, true}) {
      const std::string_view word = candidate ? "True" : "False";
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return candidate;
    }
    fail("has a fortran_order that is neither True nor False");
  }

  Dims tuple() {
    Dims dims;
    expect('(');
    while (!accept(')')) {
      dims.push_back(integer());
      if (accept(',')) continue;
      if (dims.size() == 1) fail("has a shape that is no tuple");
      expect(')');
      break;
    }
    return dims;
  }

  std::int64_t integer() {
    skip_spaces();
    std::int64_t number = 0;
    const auto [end, status] = std::from_chars(text_.data(), text_.data() + text_.size(), number);
    if (status != std::errc() || number < 0) fail("has a shape with something that is no size");
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return number;
  }

  void skip_spaces() { text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size())); }

  bool accept(char c) {
    skip_spaces();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail(fmt::format("lacks a '{}'", c));
  }

  [[noreturn]] void fail(const std::string& what) const { reader_.fail("the .npy header " + what); }

  const ByteReader& reader_;
  std::string_view text_;
};

std::uint64_t header_length(ByteReader& reader) {
  std::array<std::byte, 8> start;
  reader.read(start.data(), start.size(), "the .npy header");
  if (!looks_like_npy(start)) reader.fail("does not start with the magic number of .npy");
  const int major = std::to_integer<int>(start[6]);
  const int minor = std::to_integer<int>(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    reader.fail(fmt::format("is .npy version {}.{}; versions 1.0, 2.0 and 3.0 are known", major, minor));
  std::array<std::byte, 4> field;
  const std::size_t size = major == 1 ? 2 : 4;
  reader.read(field.data(), size, "the .npy header");
  std::uint64_t length = 0;
  for (std::size_t i = size; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(field[i]);
  if (length > largest_header)
    reader.fail(fmt::format("has an .npy header of {} bytes; at most {} are allowed", length, largest_header));
  return length;
}

SourceType checked_type(const ByteReader& reader, const std::string& descr) {
  if (const auto type = element_type(descr)) return *type;
  if (descr.find('O') != std::string::npos)
    reader.fail("holds Python objects (a pickle), which are never loaded; save an array of numbers");
  if (descr.starts_with('>'))
    reader.fail(fmt::format("is big-endian (\"{0}\"); save it with array.astype(\"<{1}\")", descr, descr.substr(1)));
  reader.fail(
      fmt::format("has the element type \"{}\"; known: bool, uint8, int8, int16, int32, int64, float16, float32, "
                  "float64 (convert with array.astype)",
                  descr));
}

}  // namespace

bool looks_like_npy(std::span<const std::byte> start) {
  return start.size() >= magic.size() && std::equal(magic.begin(), magic.end(), start.begin(),
                                                    [](char a, std::byte b) { return static_cast<std::byte>(a) == b; });
}

SourceArray read_npy(ByteReader& reader) {
  const auto header = reader.read(header_length(reader), "the .npy header");
  DictParser dict(reader, {reinterpret_cast<const char*>(header.data()), header.size()});
  dict.parse();
  const SourceType type = checked_type(reader, *dict.descr);
  if (*dict.fortran_order)
    reader.fail("is stored in Fortran order, which is not supported; save it with np.ascontiguousarray(array)");
  return read_dense(reader, type, std::move(*dict.shape));
}

}  // namespace weir
