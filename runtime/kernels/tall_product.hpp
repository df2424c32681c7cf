// C = Aᵀ · B for matrices of many rows: the gradient of a dense layer's kernel over long batches. Rows are taken in
// blocks; of a block, A and B are copied into panels of a tile's columns, so that a tile reads both from end to end,
// and its sums stay in registers meanwhile (K. Goto, R. van de Geijn, "Anatomy of high-performance matrix
// multiplication", 2008). The first tile that reads a panel's rows copies them on the way: beside so many products that
// costs nothing. An entry of C is the sum over the rows in their order, whatever the tile and the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"

namespace weir::kernels {

constexpr std::int64_t tiles_together = 2;  ///< panels of A that are copied side by side: they fill lines of the cache

/// `tall` rows of C by two vectors. a: [depth, tall], b: [depth, 2 · width], rows so far apart as their steps say.
struct TallTile {
  const float* a;
  std::int64_t a_step;
  const float* b;
  std::int64_t b_step;
  float* c;
  std::int64_t c_row, depth;
  bool first;  ///< C starts from 0
  /// Null, or where the rows go of this and the next panel of A, `a_panel` apart, and of the panel of B.
  float* a_copy = nullptr;
  std::int64_t a_panel = 0;
  float* b_copy = nullptr;
};

template <int tall, int width, bool copies_a, bool copies_b>
struct TallTileProduct {
  using Vector = typename Lanes<width>::Vector;
  static constexpr std::int64_t ahead = 16;  ///< rows, of which the machine is told early

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
    for (std::int64_t k = 0; k < tile.depth; ++k, a += tile.a_step, b += tile.b_step) {
      Vector left, right;
      std::memcpy(&left, b, sizeof left);
      std::memcpy(&right, b + width, sizeof right);
      if (copies_b) {
        for (int i = 0; i < 2 * width; i += 16) __builtin_prefetch(b + ahead * tile.b_step + i);
        std::memcpy(tile.b_copy + k * 2 * width, &left, sizeof left);
        std::memcpy(tile.b_copy + k * 2 * width + width, &right, sizeof right);
      }
      if (copies_a) {
        __builtin_prefetch(a + ahead * tile.a_step);
        for (int i = 0; i < tiles_together; ++i)
          std::memcpy(tile.a_copy + i * tile.a_panel + k * tall, a + i * tall, tall * sizeof(float));
      }
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
        a_panels_(static_cast<std::size_t>(tiles_together * block * tall)),
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
  static constexpr std::int64_t block = 512, panel = 2 * width, together = tiles_together * tall;

  void add_block(const float* a, const float* b, float* c, std::int64_t first, std::int64_t last, float* sums,
                 std::int64_t depth, bool starts) {
    for (std::int64_t row = first; row < last; row += together) {
      if (last - row < together) copy_a(a + row, depth, last - row);
      for (std::int64_t column = 0; column < size_.b_columns; column += panel) {
        const std::int64_t columns = std::min(panel, size_.b_columns - column);
        if (row == first && columns < panel) copy_b(b + column, column, depth, columns);
        for (std::int64_t one = row; one < std::min(last, row + together); one += tall) {
          TallTile tile{a_panels_.data() + (one - row) * block,
                        tall,
                        b_panels_.data() + column * depth,
                        panel,
                        c + one * size_.b_columns + column,
                        size_.b_columns,
                        depth,
                        starts};
          if (one == row && column == 0 && last - row >= together) {
            tile.a_copy = a_panels_.data();
            tile.a_panel = block * tall;
            tile.a = a + row;
            tile.a_step = size_.a_columns;
          }
          if (one == first && columns == panel) {
            tile.b_copy = b_panels_.data() + column * depth;
            tile.b = b + column;
            tile.b_step = size_.b_columns;
          }
          add_tile(tile, std::min<std::int64_t>(tall, last - one), columns);
        }
        if (row == first && sums)
          dispatch(PanelSum<panel>{}, static_cast<const float*>(b_panels_.data() + column * depth), depth,
                   sums + column, columns);
      }
    }
  }

  /// At the edge, where panels are not whole.
  void copy_a(const float* a, std::int64_t depth, std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; row += tall)
      dispatch(PanelCopy<tall>{}, a + row, size_.a_columns, a_panels_.data() + row * block, depth,
               std::min<std::int64_t>(tall, rows - row));
  }
  void copy_b(const float* b, std::int64_t column, std::int64_t depth, std::int64_t columns) {
    dispatch(PanelCopy<panel>{}, b, size_.b_columns, b_panels_.data() + column * depth, depth, columns);
  }

  /// At the edges of C a whole tile is computed beside it.
  void add_tile(TallTile tile, std::int64_t rows, std::int64_t columns) {
    if (rows == tall && columns == panel) return compute(tile);
    float edge[tall * panel] = {};
    float* const c = tile.c;
    for (std::int64_t i = 0; i < rows && !tile.first; ++i) std::copy_n(c + i * tile.c_row, columns, edge + i * panel);
    tile.c = edge;
    tile.c_row = panel;
    tile.first = false;
    compute(tile);
    for (std::int64_t i = 0; i < rows; ++i) std::copy_n(edge + i * panel, columns, c + i * size_.b_columns);
  }

  static void compute(const TallTile& tile) {
    if (tile.a_copy && tile.b_copy) return dispatch(TallTileProduct<tall, width, true, true>{}, tile);
    if (tile.a_copy) return dispatch(TallTileProduct<tall, width, true, false>{}, tile);
    if (tile.b_copy) return dispatch(TallTileProduct<tall, width, false, true>{}, tile);
    dispatch(TallTileProduct<tall, width, false, false>{}, tile);
  }

  TallSize size_;
  std::vector<float> a_panels_, b_panels_;
};

}  // namespace weir::kernels
