#include "runtime/data/idx.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

namespace weir {
namespace {

std::optional<SourceType> element_type(std::byte code) {
  switch (std::to_integer<int>(code)) {
    case 0x08:
      return SourceType::u8;
    case 0x09:
      return SourceType::i8;
    case 0x0B:
      return SourceType::i16;
    case 0x0C:
      return SourceType::i32;
    case 0x0D:
      return SourceType::f32;
    case 0x0E:
      return SourceType::f64;
    default:
      return std::nullopt;
  }
}

std::uint32_t big_endian(const std::byte* at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(at[i]);
  return value;
}

void swap_byte_order(std::vector<std::byte>& bytes, std::size_t element_size) {
  if (element_size == 1) return;
  for (std::size_t at = 0; at + element_size <= bytes.size(); at += element_size)
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + element_size));
}

}  // namespace

bool looks_like_idx(std::span<const std::byte> start) {
  return start.size() >= 4 && start[0] == std::byte{0} && start[1] == std::byte{0} &&
         element_type(start[2]).has_value();
}

SourceArray read_idx(ByteReader& reader) {
  std::array<std::byte, 4> magic;
  reader.read(magic.data(), magic.size(), "the IDX header");
  const auto type = element_type(magic[2]);
  if (magic[0] != std::byte{0} || magic[1] != std::byte{0} || !type)
    reader.fail(fmt::format("starts with {:02x}{:02x}{:02x}{:02x}, which is no IDX magic number",
                            std::to_integer<int>(magic[0]), std::to_integer<int>(magic[1]),
                            std::to_integer<int>(magic[2]), std::to_integer<int>(magic[3])));
  const auto sizes = reader.read(4 * std::to_integer<std::uint64_t>(magic[3]), "the IDX sizes");
  Dims dims;
  for (std::size_t at = 0; at < sizes.size(); at += 4) dims.push_back(big_endian(sizes.data() + at));
  SourceArray array = read_dense(reader, *type, std::move(dims));
  swap_byte_order(array.bytes, size_of(*type));
  return array;
}

}  // namespace weir
