#include "runtime/formats/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/error.hpp"
#include "runtime/formats/byte_reader.hpp"
#include "runtime/formats/durable_file.hpp"
#include "runtime/formats/safetensors_header.hpp"

namespace weir {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t largest_header = 100'000'000;

std::string_view file_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::i32:
      return "I32";
    case DType::f64:
      return "F64";
    case DType::u8:
      return "U8";
  }
  return "?";
}

std::optional<DType> known_dtype(std::string_view name) {
  for (DType dtype : {DType::f32, DType::i32, DType::f64, DType::u8})
    if (file_dtype(dtype) == name) return dtype;
  return std::nullopt;
}

[[noreturn]] void refuse(const ByteReader& reader, const SafetensorsEntry& entry, const std::string& what) {
  reader.fail(fmt::format("tensor \"{}\" {}", entry.name, what));
}

std::uint64_t checked_count(const ByteReader& reader, const SafetensorsEntry& entry) {
  try {
    return static_cast<std::uint64_t>(element_count(entry.dims));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: tensor \"{}\": {}", reader.name(), entry.name, error.what()));
  }
}

DType checked_dtype(const ByteReader& reader, const SafetensorsEntry& entry) {
  const std::optional<DType> dtype = known_dtype(entry.dtype);
  if (!dtype)
    refuse(reader, entry, fmt::format("is {}; F32, F64, I32 and U8 can be read, so save it as F32", entry.dtype));
  const std::uint64_t size = checked_count(reader, entry) * size_of(*dtype);
  if (entry.end < entry.begin || entry.end - entry.begin != size)
    refuse(reader, entry,
           fmt::format("of shape {} needs {} bytes, but its offsets are {} to {}", to_string(entry.dims), size,
                       entry.begin, entry.end));
  return *dtype;
}

/// The tensors must lie one after the other from 0 without hole or overlap.
void check_tiling(const ByteReader& reader, const std::vector<SafetensorsEntry>& entries) {
  std::uint64_t end = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin > end) refuse(reader, entry, fmt::format("starts at {}, after a hole from {}", entry.begin, end));
    if (entry.begin < end)
      refuse(reader, entry, fmt::format("starts at {}, inside another that ends at {}", entry.begin, end));
    end = entry.end;
  }
  const std::uint64_t left = reader.at_most();
  if (left != ByteSource::unknown && left != end)
    reader.fail(fmt::format("is {}: its tensors take {} bytes, {} follow the header",
                            left < end ? "cut off" : "too long", end, left));
}

std::string read_header(ByteReader& reader) {
  std::uint64_t length = 0;
  reader.read(reinterpret_cast<std::byte*>(&length), sizeof length, "the header length");
  if (length > largest_header)
    throw Error(ErrorCode::limit_exceeded,
                fmt::format("{}: claims a header of {} bytes; at most {} are allowed (is this "
                            "a safetensors file?)",
                            reader.name(), length, largest_header));
  const auto bytes = reader.read(length, "the header");
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The place of a dtype in a file: the widest first, so that every tensor is aligned when the header is, and in the
/// order of the format's own writer where widths are equal.
int file_rank(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 0;
    case DType::f32:
      return 1;
    case DType::i32:
      return 2;
    case DType::u8:
      return 3;
  }
  return 4;
}

std::vector<std::pair<std::string, const TensorView*>> file_order(const std::map<std::string, TensorView>& tensors) {
  std::vector<std::pair<std::string, const TensorView*>> order;
  order.reserve(tensors.size());
  for (const auto& [name, view] : tensors) order.emplace_back(name, &view);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return file_rank(a.second->dtype) < file_rank(b.second->dtype);
  });
  return order;
}

std::uint64_t byte_count(const TensorView& view) {
  return static_cast<std::uint64_t>(element_count(view.dims)) * size_of(view.dtype);
}

struct Layout {
  std::string start;  ///< header length and header
  std::vector<std::span<const std::byte>> tensors;
};

/// One member of the header. Throws Error(invalid_argument) if a name is not UTF-8.
std::string header_member(const std::string& key, const nlohmann::ordered_json& value) {
  try {
    return nlohmann::ordered_json(key).dump() + ":" + value.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::invalid_argument, "a name or metadata of a safetensors file is not valid UTF-8");
  }
}

Layout lay_out(const std::map<std::string, TensorView>& tensors, const Metadata& metadata) {
  if (tensors.count("__metadata__"))
    throw Error(ErrorCode::invalid_argument, "a tensor cannot be named \"__metadata__\"");
  std::string text = "{";
  if (!metadata.empty()) text += header_member("__metadata__", metadata);
  Layout layout;
  std::uint64_t offset = 0;
  for (const auto& [name, view] : file_order(tensors)) {
    const std::uint64_t size = byte_count(*view);
    if (text.size() > 1) text += ',';
    text += header_member(
        name, {{"dtype", file_dtype(view->dtype)}, {"shape", view->dims}, {"data_offsets", {offset, offset + size}}});
    if (size > 0) layout.tensors.emplace_back(static_cast<const std::byte*>(view->data), size);
    offset += size;
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  layout.start.assign(reinterpret_cast<const char*>(&length), sizeof length);
  layout.start += text;
  return layout;
}

}  // namespace

std::map<std::string, Tensor> read_safetensors(std::istream& stream, const std::string& source_name,
                                               Metadata* metadata) {
  ByteReader reader(std::make_unique<StreamSource>(stream, source_name), source_name);
  SafetensorsHeader header = parse_safetensors_header(read_header(reader), source_name);
  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::vector<DType> dtypes;
  for (const SafetensorsEntry& entry : header.entries) dtypes.push_back(checked_dtype(reader, entry));
  check_tiling(reader, header.entries);
  std::map<std::string, Tensor> tensors;
  for (std::size_t i = 0; i < header.entries.size(); ++i) {
    SafetensorsEntry& entry = header.entries[i];
    Tensor& tensor = tensors[entry.name];
    tensor.bytes = reader.read(entry.end - entry.begin, "tensor \"" + entry.name + "\"");
    tensor.dtype = dtypes[i];
    tensor.dims = std::move(entry.dims);
  }
  reader.expect_end("the last tensor");
  if (metadata) *metadata = std::move(header.metadata);
  return tensors;
}

std::string safetensors_bytes(const std::map<std::string, TensorView>& tensors, const Metadata& metadata) {
  Layout layout = lay_out(tensors, metadata);
  for (const auto& tensor : layout.tensors)
    layout.start.append(reinterpret_cast<const char*>(tensor.data()), tensor.size());
  return std::move(layout.start);
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const Metadata& metadata) {
  const Layout layout = lay_out(tensors, metadata);
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(layout.start))};
  pieces.insert(pieces.end(), layout.tensors.begin(), layout.tensors.end());
  write_durably(path, pieces);
}

}  // namespace weir
