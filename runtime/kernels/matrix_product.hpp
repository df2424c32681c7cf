// Products of matrices that lie in the nearest cache, as attention and filtered convolutions have them: nothing is
// copied first. An entry is the sum over the depth in its order, whatever the tile.
#pragma once

#include <cstdint>
#include <cstring>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"

namespace weir::kernels {

/// A matrix whose entry (i, j) lies at data[i · row + j · column].
struct Matrix {
  const float* data;
  std::int64_t row, column = 1;
};

/// Tiles of `tall` rows and two vectors of `width` columns, or one: their sums fill half of the registers.
template <int width>
struct MatrixProduct {
  using Vector = typename Lanes<width>::Vector;
  static constexpr int tall = width == 16 ? 8 : 4;

  /// c [m, n] = a [m, depth] · b [depth, n], or adds that to c; the rows of b and c lie together.
  WEIR_INLINE static void run(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t m, std::int64_t n,
                              std::int64_t depth, bool adds = false) {
    std::int64_t j = 0;
    for (; j + 2 * width <= n; j += 2 * width) columns<2>(a, {b.data + j, b.row}, c + j, c_row, m, depth, adds);
    for (; j + width <= n; j += width) columns<1>(a, {b.data + j, b.row}, c + j, c_row, m, depth, adds);
    for (std::int64_t i = 0; j < n && i < m; ++i)
      edge({a.data + i * a.row, a.row, a.column}, {b.data + j, b.row}, c + i * c_row + j, n - j, depth, adds);
  }

 private:
  template <int vectors>
  WEIR_INLINE static void columns(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t m, std::int64_t depth,
                                  bool adds) {
    std::int64_t i = 0;
    for (; i + tall <= m; i += tall)
      tile<tall, vectors>({a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, depth, adds);
    for (; i < m; ++i) tile<1, vectors>({a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, depth, adds);
  }
  template <int rows, int vectors>
  WEIR_INLINE static void tile(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t depth, bool adds) {
    Vector sums[rows][vectors] = {};
    const float *left = a.data, *right = b.data;
    for (std::int64_t p = 0; p < depth; ++p, left += a.column, right += b.row) {
      Vector line[vectors];
      WEIR_UNROLL
      for (int j = 0; j < vectors; ++j) std::memcpy(&line[j], right + j * width, sizeof(Vector));
      WEIR_UNROLL
      for (int i = 0; i < rows; ++i) {
        WEIR_UNROLL
        for (int j = 0; j < vectors; ++j) sums[i][j] += left[i * a.row] * line[j];
      }
    }
    WEIR_UNROLL
    for (int i = 0; i < rows; ++i) {
      WEIR_UNROLL
      for (int j = 0; j < vectors; ++j) {
        float* const to = c + i * c_row + j * width;
        if (adds) {
          Vector before;
          std::memcpy(&before, to, sizeof before);
          sums[i][j] += before;
        }
        std::memcpy(to, &sums[i][j], sizeof(Vector));
      }
    }
  }
  /// The columns that are left over.
  WEIR_INLINE static void edge(Matrix a, Matrix b, float* c, std::int64_t count, std::int64_t depth, bool adds) {
    float sums[width] = {};
    for (std::int64_t p = 0; p < depth; ++p)
      for (std::int64_t j = 0; j < count; ++j) sums[j] += a.data[p * a.column] * b.data[p * b.row + j];
    for (std::int64_t j = 0; j < count; ++j) c[j] = adds ? c[j] + sums[j] : sums[j];
  }
};

}  // namespace weir::kernels
