// What attention and its gradient share: the recipe's operands, and matrices turned.
//
// Queries are [batch, times, heads, key size], keys and values [batch, sources, heads, size], probabilities [batch,
// heads, times, sources]. Each head of each sample is computed by one thread, so no sum depends on their number.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/kernels/matrix_product.hpp"
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

constexpr std::int64_t lanes = 16;

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
  if (instructions() == Instructions::avx512) return call_avx512(Loop<MatrixProduct<16>>{}, arguments...);
#endif
  dispatch(Loop<MatrixProduct<8>>{}, arguments...);
}

}  // namespace weir::kernels
