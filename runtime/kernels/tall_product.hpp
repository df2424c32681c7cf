// C = Aᵀ · B for matrices of many rows: the gradient of a dense layer's kernel over long batches. Rows are taken in
// blocks; of a block, A and B are copied into panels of a tile's columns, so that a tile reads both from end to end,
// and its sums stay in registers meanwhile (K. Goto, R. van de Geijn, "Anatomy of high-performance matrix
// multiplication", 2008). An entry of C is the sum over the rows in their order, whatever the tile and the number of
// threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"

namespace weir::kernels {

/// `tall` rows of C by two vectors. a: [depth, tall]; b: [depth, 2 · width].
struct TallTile {
  const float *a, *b;
  float* c;
  std::int64_t c_row, depth;
  bool first;  ///< C starts from 0
};

template <int tall, int width>
struct TallTileProduct {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE void operator()(TallTile tile) const {
    Vector sums[tall][2];
    WEIR_UNROLL
    for (int i = 0; i < tall; ++i) {
      sums[i][0] = sums[i][1] = Vector{};
      if (tile.first) continue;
      std::memcpy(&sums[i][0], tile.c + i * tile.c_row, sizeof(Vector));
      std::memcpy(&sums[i][1], tile.c + i * tile.c_row + width, sizeof(Vector));
    }
    const float *a = tile.a, *b = tile.b;
    for (std::int64_t k = 0; k < tile.depth; ++k, a += tall, b += 2 * width) {
      Vector left, right;
      std::memcpy(&left, b, sizeof left);
      std::memcpy(&right, b + width, sizeof right);
      WEIR_UNROLL
      for (int i = 0; i < tall; ++i) {
        sums[i][0] += a[i] * left;
        sums[i][1] += a[i] * right;
      }
    }
    WEIR_UNROLL
    for (int i = 0; i < tall; ++i) {
      std::memcpy(tile.c + i * tile.c_row, &sums[i][0], sizeof(Vector));
      std::memcpy(tile.c + i * tile.c_row + width, &sums[i][1], sizeof(Vector));
    }
  }
};

/// `columns` values of each row of a matrix, then zeros up to `panel`.
template <int panel>
struct PanelCopy {
  WEIR_INLINE void operator()(const float* from, std::int64_t step, float* to, std::int64_t depth,
                              std::int64_t columns) const {
    if (columns == panel) {
      for (std::int64_t k = 0; k < depth; ++k) std::memcpy(to + k * panel, from + k * step, panel * sizeof(float));
      return;
    }
    for (std::int64_t k = 0; k < depth; ++k)
      for (std::int64_t i = 0; i < panel; ++i) to[k * panel + i] = i < columns ? from[k * step + i] : 0.0f;
  }
};

/// Whole panels side by side, `to_step` apart: together they fill lines of the cache.
template <int panels, int panel>
struct PanelsCopy {
  WEIR_INLINE void operator()(const float* from, std::int64_t step, float* to, std::int64_t to_step,
                              std::int64_t depth) const {
    for (std::int64_t k = 0; k < depth; ++k)
      for (int i = 0; i < panels; ++i)
        std::memcpy(to + i * to_step + k * panel, from + k * step + i * panel, panel * sizeof(float));
  }
};

/// Adds a panel's rows up.
template <int panel>
struct PanelSum {
  WEIR_INLINE void operator()(const float* rows, std::int64_t depth, float* sums, std::int64_t columns) const {
    float block[panel] = {};
    for (std::int64_t k = 0; k < depth; ++k)
      for (int i = 0; i < panel; ++i) block[i] += rows[k * panel + i];
    for (std::int64_t i = 0; i < columns; ++i) sums[i] += block[i];
  }
};

struct TallSize {
  std::int64_t rows, a_columns, b_columns;
};

/// The product with tiles of one size; one object a thread, which owns its panels.
template <int tall, int width>
class TallProduct {
 public:
  explicit TallProduct(const TallSize& size)
      : size_(size),
        a_panels_(static_cast<std::size_t>(together * block * tall)),
        b_panels_(static_cast<std::size_t>(block * (size.b_columns + panel - 1) / panel * panel + block * panel)) {}

  /// Rows [first, last) of C, which is [a_columns, b_columns]; first is a multiple of `tall`. sums: of B's columns, or
  /// null.
  void run(const float* a, const float* b, float* c, std::int64_t first, std::int64_t last, float* sums) {
    if (sums) std::fill_n(sums, size_.b_columns, 0.0f);
    for (std::int64_t row = 0; row < size_.rows; row += block)
      add_block(a + row * size_.a_columns, b + row * size_.b_columns, c, first, last, sums,
                std::min(block, size_.rows - row), row == 0);
  }

  static constexpr std::int64_t rows_of_tile = tall;

 private:
  static constexpr std::int64_t block = 512, panel = 2 * width, together = 2;

  void add_block(const float* a, const float* b, float* c, std::int64_t first, std::int64_t last, float* sums,
                 std::int64_t depth, bool starts) {
    for (std::int64_t column = 0; column < size_.b_columns; column += panel) {
      float* to = b_panels_.data() + column * depth;
      const std::int64_t columns = std::min(panel, size_.b_columns - column);
      dispatch(PanelCopy<panel>{}, b + column, size_.b_columns, to, depth, columns);
      if (sums) dispatch(PanelSum<panel>{}, static_cast<const float*>(to), depth, sums + column, columns);
    }
    for (std::int64_t row = first; row < last; row += together * tall) {
      copy_a(a + row, depth, last - row);
      for (std::int64_t column = 0; column < size_.b_columns; column += panel)
        for (std::int64_t one = row; one < std::min(last, row + together * tall); one += tall)
          add_tile(c + one * size_.b_columns + column, a_panels_.data() + (one - row) * block, column,
                   std::min<std::int64_t>(tall, last - one), depth, starts);
    }
  }

  void copy_a(const float* a, std::int64_t depth, std::int64_t rows) {
    if (rows >= together * tall)
      return dispatch(PanelsCopy<together, tall>{}, a, size_.a_columns, a_panels_.data(), block * tall, depth);
    for (std::int64_t row = 0; row < rows; row += tall)
      dispatch(PanelCopy<tall>{}, a + row, size_.a_columns, a_panels_.data() + row * block, depth,
               std::min<std::int64_t>(tall, rows - row));
  }

  /// At the edges of C a whole tile is computed beside it.
  void add_tile(float* c, const float* a, std::int64_t column, std::int64_t rows, std::int64_t depth, bool starts) {
    const std::int64_t columns = std::min(panel, size_.b_columns - column);
    const float* b = b_panels_.data() + column * depth;
    if (rows == tall && columns == panel)
      return dispatch(TallTileProduct<tall, width>{}, TallTile{a, b, c, size_.b_columns, depth, starts});
    float edge[tall * panel] = {};
    for (std::int64_t i = 0; i < rows && !starts; ++i) std::copy_n(c + i * size_.b_columns, columns, edge + i * panel);
    dispatch(TallTileProduct<tall, width>{}, TallTile{a, b, edge, panel, depth, false});
    for (std::int64_t i = 0; i < rows; ++i) std::copy_n(edge + i * panel, columns, c + i * size_.b_columns);
  }

  TallSize size_;
  std::vector<float> a_panels_, b_panels_;
};

}  // namespace weir::kernels
