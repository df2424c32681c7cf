// How a loss's sum over the real rows becomes its value, and how its weight becomes the factor of its gradient:
// settings and scalars that the loss kernels share.
//
//   value = sum / D,  gradient = slope · weight / D,  D = divisor · rows where "by_rows" is set, else divisor
//
// rows: how many rows of the batch are real. The rows behind them are padding: never read into a sum, gradient 0. No
// real row gives value 0 and gradient 0. A weight of 0 writes zeros and multiplies nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/recipe_check.hpp"

namespace weir::kernels {

class Reduction {
 public:
  explicit Reduction(const Attributes& attributes)
      : divisor_(attributes.number("divisor")), by_rows_(attributes.flag("by_rows")) {}

  static void check(const Recipe& recipe) {
    number_setting(recipe, "divisor", 1, 0x1p40);
    flag_setting(recipe, "by_rows");
  }

  /// How many of `batch` rows are real.
  static std::int64_t real_rows(double rows, std::int64_t batch) {
    return rows >= static_cast<double>(batch) ? batch : rows > 0 ? static_cast<std::int64_t>(rows) : 0;
  }

  double value(double sum, std::int64_t rows) const { return rows ? sum / denominator(rows) : 0; }
  /// 0: the gradient is zero throughout, whatever the slopes are.
  float factor(double weight, std::int64_t rows) const {
    return rows ? static_cast<float>(weight / denominator(rows)) : 0;
  }

 private:
  double denominator(std::int64_t rows) const { return by_rows_ ? divisor_ * static_cast<double>(rows) : divisor_; }
  double divisor_;
  bool by_rows_;
};

}  // namespace weir::kernels
