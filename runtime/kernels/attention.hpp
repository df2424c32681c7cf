// What attention and its gradient share: the recipe's operands, and products of small matrices.
//
// Queries are [batch, times, heads, key size], keys and values [batch, sources, heads, size], probabilities [batch,
// heads, times, sources]. Each head of each sample is computed by one thread, so no sum depends on their number.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/kernels/dispatch.hpp"
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
using Lanes [[gnu::vector_size(64), gnu::aligned(4), gnu::may_alias]] = float;

/// `rows` rows and 16 columns of c = a · b; the rows of b lie together.
template <int rows>
WEIR_INLINE void multiply_tile(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t depth) {
  Lanes sums[rows] = {};
  for (std::int64_t p = 0; p < depth; ++p) {
    const Lanes line = *reinterpret_cast<const Lanes*>(b.data + p * b.row);
    for (int i = 0; i < rows; ++i) sums[i] += a.data[i * a.row + p * a.column] * line;
  }
  for (int i = 0; i < rows; ++i) *reinterpret_cast<Lanes*>(c + i * c_row) = sums[i];
}

/// The columns that are left over.
WEIR_INLINE void multiply_edge(Matrix a, Matrix b, float* c, std::int64_t columns, std::int64_t depth) {
  float sums[lanes] = {};
  for (std::int64_t p = 0; p < depth; ++p)
    for (std::int64_t j = 0; j < columns; ++j) sums[j] += a.data[p * a.column] * b.data[p * b.row + j];
  std::copy_n(sums, columns, c);
}

/// c [m, n] = a [m, depth] · b [depth, n]; the rows of b and c lie together.
WEIR_INLINE void multiply(Matrix a, Matrix b, float* c, std::int64_t c_row, std::int64_t m, std::int64_t n,
                          std::int64_t depth) {
  constexpr int tile = 6;
  std::int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    const Matrix columns{b.data + j, b.row};
    std::int64_t i = 0;
    for (; i + tile <= m; i += tile)
      multiply_tile<tile>({a.data + i * a.row, a.row, a.column}, columns, c + i * c_row + j, c_row, depth);
    for (; i < m; ++i)
      multiply_tile<1>({a.data + i * a.row, a.row, a.column}, columns, c + i * c_row + j, c_row, depth);
  }
  for (std::int64_t i = 0; j < n && i < m; ++i)
    multiply_edge({a.data + i * a.row, a.row, a.column}, {b.data + j, b.row}, c + i * c_row + j, n - j, depth);
}

/// to [columns, rows] = from [rows, columns] transposed.
WEIR_INLINE void transpose(Matrix from, std::int64_t rows, std::int64_t columns, float* to) {
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = 0; i < rows; ++i) to[j * rows + i] = from.data[i * from.row + j];
}

}  // namespace weir::kernels
