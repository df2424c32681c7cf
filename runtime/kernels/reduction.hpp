// How a loss's sum over the real rows becomes its value, and how its weight becomes the factor of its gradient:
// settings and scalars that the loss kernels share.
//
//   value = sum / D,  gradient = slope · weight / D,  D = divisor · rows where "by_rows" is set, else divisor
//
// rows: how many rows of the batch are real. The rows behind them are padding: never read into a sum, gradient 0. No
// real row gives value 0 and gradient 0. A weight of 0 writes zeros and multiplies nothing.
//
// Weighted losses have two more operands: entry_weights f32 [batch, weights], one for each entry of the unreduced loss
// (what has weight 0 is not read), and denominator f64: D = divisor · denominator then, 0 where nothing counts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

class Reduction {
 public:
  Reduction(const Recipe& recipe, std::span<void* const> buffers)
      : divisor_(recipe.attributes.number("divisor")), by_rows_(recipe.attributes.flag("by_rows")) {
    if (!recipe.find("entry_weights")) return;
    weights_ = pointer<const float>(recipe, buffers, "entry_weights");
    denominator_ = pointer<const double>(recipe, buffers, "denominator");
    per_sample_ = recipe.operand("entry_weights").shape.dims[1];
  }

  /// The operands that a weighted loss has beside those of the loss.
  static void add_rules(const Recipe& recipe, std::vector<OperandRule>& rules) {
    if (!recipe.find("entry_weights") && !recipe.find("denominator")) return;
    rules.push_back({"entry_weights"});
    rules.push_back({"denominator", Access::read, DType::f64});
  }

  static void check(const Recipe& recipe) {
    number_setting(recipe, "divisor", 1, 0x1p40);
    flag_setting(recipe, "by_rows");
    const RecipeOperand* weights = recipe.find("entry_weights");
    if (!weights) return;
    check_dense(recipe, "entry_weights");
    const Dims &dims = weights->shape.dims, &prediction = recipe.operand("prediction").shape.dims;
    if (dims.size() != 2 || prediction.size() < 2 || dims[0] != prediction[0] || prediction[1] % dims[1] != 0)
      reject(recipe, "entry_weights must be [batch, weights], and divide the entries of a sample");
    if (prediction.size() == 3 && dims[1] != prediction[1]) reject(recipe, "there must be one weight a row");
  }

  /// How many of `batch` rows are real.
  static std::int64_t real_rows(double rows, std::int64_t batch) {
    return rows >= static_cast<double>(batch) ? batch : rows > 0 ? static_cast<std::int64_t>(rows) : 0;
  }

  bool is_weighted() const { return weights_; }
  std::int64_t weights_per_sample() const { return per_sample_; }
  /// Of an entry of the unreduced loss; 0: it is not read.
  float weight(std::int64_t entry) const { return weights_ ? weights_[entry] : 1; }

  double value(double sum, std::int64_t rows) const {
    const double total = rows ? denominator(rows) : 0;
    return total != 0 ? sum / total : 0;
  }
  /// 0: the gradient is zero throughout, whatever the slopes are.
  float factor(double weight, std::int64_t rows) const { return static_cast<float>(value(weight, rows)); }

 private:
  double denominator(std::int64_t rows) const {
    if (denominator_) return divisor_ * *denominator_;
    return by_rows_ ? divisor_ * static_cast<double>(rows) : divisor_;
  }
  double divisor_;
  bool by_rows_;
  const float* weights_ = nullptr;
  const double* denominator_ = nullptr;
  std::int64_t per_sample_ = 0;
};

}  // namespace weir::kernels
