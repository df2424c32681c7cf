// What attention and its gradient share: the recipe's operands, and products of small matrices.
//
// Queries are [batch, times, heads, key size], keys and values [batch, sources, heads, size], probabilities [batch,
// heads, times, sources]. Each head of each sample is computed by one thread, so no sum depends on their number.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

struct AttentionSize {
  std::int64_t batch, heads, times, sources, key, value;
  bool causal;

  float scale() const { return static_cast<float>(1 / std::sqrt(static_cast<double>(key))); }
  std::int64_t query_row() const { return heads * key; }  ///< from one time, or source, to the next
  std::int64_t value_row() const { return heads * value; }
};

inline AttentionSize attention_size(const Recipe& recipe) {
  const Dims &query = recipe.operand("query").shape.dims, &value = recipe.operand("value").shape.dims;
  return {query[0], query[2], query[1], value[1], query[3], value[3], recipe.attributes.flag("causal")};
}

/// The operands that both recipes have; `like_value` is shaped as the result.
inline void check_attention(const Recipe& recipe, std::string_view like_value) {
  check_attribute_names(recipe, {"causal"});
  flag_setting(recipe, "causal");
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  const Dims &query = recipe.operand("query").shape.dims, &value = recipe.operand("value").shape.dims;
  if (query.size() != 4 || value.size() != 4 || query[0] != value[0] || query[2] != value[2])
    reject(recipe, "query and value must have four axes, and as many samples and heads as each other");
  const auto expect = [&](std::string_view role, const Dims& dims) {
    if (recipe.operand(role).shape.dims != dims)
      reject(recipe, "operand \"" + std::string(role) + "\" must be " + to_string(dims));
  };
  expect("key", {value[0], value[1], value[2], query[3]});
  expect("probabilities", {query[0], query[2], query[1], value[1]});
  expect(like_value, {query[0], query[1], query[2], value[3]});
}

/// A matrix whose entry (i, j) lies at data[i · row + j · column].
struct Matrix {
  const float* data;
  std::int64_t row, column = 1;
};

constexpr std::int64_t lanes = 16;

/// c = a · b by tiles of `tall` rows and two vectors of `width` columns, or one; the rows of b and c lie together.
template <int tall, int width>
struct MatrixProduct {
  using Vector = typename Lanes<width>::Vector;

  /// c [m, n] = a [m, depth] · b [depth, n].
  WEIR_INLINE static void run(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t m, std::int64_t n,
                              std::int64_t depth) {
    std::int64_t j = 0;
    for (; j + 2 * width <= n; j += 2 * width) columns<2>(a, {b.data + j, b.row}, c + j, c_row, m, depth);
    for (; j + width <= n; j += width) columns<1>(a, {b.data + j, b.row}, c + j, c_row, m, depth);
    for (std::int64_t i = 0; j < n && i < m; ++i)
      edge({a.data + i * a.row, a.row, a.column}, {b.data + j, b.row}, c + i * c_row + j, n - j, depth);
  }

 private:
  template <int vectors>
  WEIR_INLINE static void columns(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t m,
                                  std::int64_t depth) {
    std::int64_t i = 0;
    for (; i + tall <= m; i += tall)
      tile<tall, vectors>({a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, depth);
    for (; i < m; ++i) tile<1, vectors>({a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, depth);
  }
  template <int rows, int vectors>
  WEIR_INLINE static void tile(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t depth) {
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
      for (int j = 0; j < vectors; ++j) std::memcpy(c + i * c_row + j * width, &sums[i][j], sizeof(Vector));
    }
  }
  /// The columns that are left over.
  WEIR_INLINE static void edge(Matrix a, Matrix b, float* c, std::int64_t count, std::int64_t depth) {
    float sums[width] = {};
    for (std::int64_t p = 0; p < depth; ++p)
      for (std::int64_t j = 0; j < count; ++j) sums[j] += a.data[p * a.column] * b.data[p * b.row + j];
    std::copy_n(sums, count, c);
  }
};

/// to [columns, rows] = from [rows, columns] transposed.
WEIR_INLINE void transpose(Matrix from, std::int64_t rows, std::int64_t columns, float* to) {
  const std::int64_t whole_rows = rows / 8 * 8, whole_columns = columns / 8 * 8;
  for (std::int64_t i = 0; i < whole_rows; i += 8)
    for (std::int64_t j = 0; j < whole_columns; j += 8)
      turn_8x8(from.data + i * from.row + j, from.row, to + j * rows + i, rows);
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i)
      to[j * rows + i] = from.data[i * from.row + j];
}

/// Loop<Product>, by tiles that fit this machine's registers.
template <template <class> class Loop, class... Arguments>
void with_products(Arguments... arguments) {
#if defined(__x86_64__)
  if (instructions() == Instructions::avx512) return call_avx512(Loop<MatrixProduct<8, 16>>{}, arguments...);
#endif
  dispatch(Loop<MatrixProduct<4, 8>>{}, arguments...);
}

}  // namespace weir::kernels
