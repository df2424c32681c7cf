// How much a specification may ask for before it is refused. Each limit has a test at it and one past it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::limits {

inline constexpr std::size_t spec_bytes = std::size_t{16} << 20;
inline constexpr std::size_t json_depth = 64;
inline constexpr std::size_t json_values = 500'000;
inline constexpr std::size_t object_members = 100'000;
inline constexpr std::size_t string_bytes = std::size_t{64} << 10;
inline constexpr std::size_t name_bytes = 255;
inline constexpr std::size_t layers = 10'000;
inline constexpr std::size_t operands = 1'024;  ///< nodes that one layer reads
inline constexpr std::size_t edges = 100'000;   ///< nodes that all layers read
inline constexpr std::size_t terms = 1'024;     ///< loss terms; metrics as well
inline constexpr std::size_t patterns = 1'024;  ///< names with `*` in a file
inline constexpr std::size_t rank = 6;          ///< axes of a tensor besides the batch
inline constexpr std::int64_t extent = (std::int64_t{1} << 31) - 1;
inline constexpr std::int64_t elements = std::int64_t{1} << 36;  ///< of one sample of an input
inline constexpr std::size_t mistakes = 1'000;                   ///< kept of one file; the first 20 are shown

}  // namespace weir::limits
