#include "runtime/data/array.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "runtime/data/csv.hpp"
#include "runtime/data/gzip.hpp"
#include "runtime/data/idx.hpp"
#include "runtime/data/npy.hpp"
#include "runtime/data/npz.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::size_t largest_rank = 12;
constexpr std::int64_t largest_dimension = (std::int64_t{1} << 31) - 1;
constexpr std::size_t sniffed = 512;

std::uint64_t checked_byte_count(const std::string& name, SourceType type, const Dims& dims) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::limit_exceeded,
                fmt::format("{}: the header says shape {}; {}", name, to_string(dims), what));
  };
  if (dims.size() > largest_rank) refuse(fmt::format("at most {} dimensions are allowed", largest_rank));
  for (std::int64_t extent : dims)
    if (extent < 0 || extent > largest_dimension) refuse(fmt::format("a dimension is 0 to {}", largest_dimension));
  try {
    return static_cast<std::uint64_t>(element_count(dims)) * size_of(type);
  } catch (const Error& error) {
    throw Error(error.code(), name + ": " + error.what());
  }
}

bool looks_like_text(std::span<const std::byte> start) {
  return std::all_of(start.begin(), start.end(), [](std::byte byte) {
    const int c = std::to_integer<int>(byte);
    return c >= 0x20 ? c != 0x7F : c == '\t' || c == '\n' || c == '\r';
  });
}

[[noreturn]] void refuse_unknown(ByteReader& reader) {
  std::string hex;
  for (std::byte byte : reader.peek(4)) hex += fmt::format("{:02x}", std::to_integer<int>(byte));
  if (hex.empty()) reader.fail("the file is empty");
  reader.fail("is neither .npy, .npz, IDX nor CSV: it starts with the bytes " + hex);
}

SourceArray read_by_content(ByteReader& reader, const std::vector<std::string>& columns) {
  const auto start = reader.peek(sniffed);
  const bool binary = looks_like_npy(start) || looks_like_idx(start);
  if (!binary && !start.empty() && looks_like_text(start)) return read_csv(reader, columns);
  if (!binary) refuse_unknown(reader);
  if (!columns.empty())
    throw Error(ErrorCode::invalid_argument, reader.name() + ": \"columns\" are of CSV files; this one is " +
                                                 (looks_like_npy(start) ? ".npy" : "IDX"));
  return looks_like_npy(start) ? read_npy(reader) : read_idx(reader);
}

}  // namespace

std::string_view to_string(SourceType type) {
  switch (type) {
    case SourceType::boolean:
      return "bool";
    case SourceType::u8:
      return "u8";
    case SourceType::i8:
      return "i8";
    case SourceType::i16:
      return "i16";
    case SourceType::i32:
      return "i32";
    case SourceType::i64:
      return "i64";
    case SourceType::f16:
      return "f16";
    case SourceType::f32:
      return "f32";
    case SourceType::f64:
      return "f64";
  }
  return "?";
}

std::size_t size_of(SourceType type) {
  switch (type) {
    case SourceType::boolean:
    case SourceType::u8:
    case SourceType::i8:
      return 1;
    case SourceType::i16:
    case SourceType::f16:
      return 2;
    case SourceType::i32:
    case SourceType::f32:
      return 4;
    default:
      return 8;
  }
}

bool is_floating(SourceType type) { return type >= SourceType::f16; }

// Shifted into the place of a float's bits, a half is 2^-112 times its value (subnormals included); infinity and NaN
// have the exponent 31, which becomes 255.
float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t magnitude = std::uint32_t{half & 0x7FFFu} << 13;
  const bool finite = (half & 0x7C00u) != 0x7C00u;
  const float value =
      finite ? std::bit_cast<float>(magnitude) * 0x1p112f : std::bit_cast<float>(magnitude | 0x7F800000u);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
}

SourceArray read_dense(ByteReader& reader, SourceType type, Dims dims) {
  const std::uint64_t size = checked_byte_count(reader.name(), type, dims);
  const std::string what = fmt::format("the data ({} {})", to_string(type), to_string(dims));
  SourceArray array{type, std::move(dims), reader.read(size, what), reader.name()};
  reader.expect_end(what);
  return array;
}

ArrayPath split_array_path(std::string_view path) {
  const std::size_t at = path.rfind(".npz:");
  if (at == std::string_view::npos) return {std::string(path), ""};
  return {std::string(path.substr(0, at + 4)), std::string(path.substr(at + 5))};
}

SourceArray read_array(std::istream& stream, const std::string& name, const ArrayOptions& options) {
  const auto start = stream.tellg();
  auto reader = std::make_unique<ByteReader>(std::make_unique<StreamSource>(stream, name), name);
  if (looks_like_zip(reader->peek(4))) {
    if (!options.columns.empty())
      throw Error(ErrorCode::invalid_argument, name + ": \"columns\" are of CSV files; this one is .npz");
    stream.clear();
    if (start < 0 || !stream.seekg(start))
      throw Error(ErrorCode::io_error, name + ": an .npz is read from a file only");
    return read_npz(stream, name, options.member);
  }
  if (!options.member.empty())
    throw Error(ErrorCode::invalid_argument,
                name + ": \":" + options.member + "\" names an array of an .npz; this is none");
  if (!looks_like_gzip(reader->peek(2))) return read_by_content(*reader, options.columns);
  ByteReader inflated(gzip_source(std::move(reader)), name);
  return read_by_content(inflated, options.columns);
}

}  // namespace weir
