// Vectors of floats of one width, which the compiler keeps in as many registers as the instruction set needs.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/kernels/dispatch.hpp"

namespace weir::kernels {

template <int width>
struct Lanes;
template <>
struct Lanes<4> {
  typedef float Vector __attribute__((vector_size(16)));
};
template <>
struct Lanes<8> {
  typedef float Vector __attribute__((vector_size(32)));
};
template <>
struct Lanes<16> {
  typedef float Vector __attribute__((vector_size(64)));
};

/// Eight values of eight rows, turned: exchanges halves of vectors instead of single values.
WEIR_INLINE void turn_8x8(const float* from, std::int64_t from_row, float* to, std::int64_t to_row) {
  using Eight = Lanes<8>::Vector;
  Eight rows[8], pairs[8], fours[8];
  WEIR_UNROLL
  for (int i = 0; i < 8; ++i) std::memcpy(&rows[i], from + i * from_row, sizeof rows[i]);
  WEIR_UNROLL
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  WEIR_UNROLL
  for (int i = 0; i < 8; i += 4) {
    WEIR_UNROLL
    for (int j = 0; j < 2; ++j) {
      fours[i + 2 * j] = __builtin_shufflevector(pairs[i + j], pairs[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
      fours[i + 2 * j + 1] = __builtin_shufflevector(pairs[i + j], pairs[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  WEIR_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Eight low = __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Eight high = __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(to + i * to_row, &low, sizeof low);
    std::memcpy(to + (i + 4) * to_row, &high, sizeof high);
  }
}

}  // namespace weir::kernels
