// What kl_sparsity and kl_sparsity_gradient have in common: the mean of each unit over the real rows.
#pragma once

#include <span>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/reduction.hpp"

namespace weir::kernels {

/// Roles prediction f32 [batch, units], rows, and `more`; setting rho.
inline void check_sparsity(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  std::vector<OperandRule> rules(more);
  rules.insert(rules.end(), {{"prediction"}, {"rows", Access::read, DType::f64}});
  check_operands(recipe, rules);
  check_attribute_names(recipe, {"rho"});
  const double rho = number_setting(recipe, "rho", 0, 1);
  if (rho == 0 || rho == 1) reject(recipe, "rho must lie between 0 and 1");
  if (recipe.operand("prediction").shape.dims.size() != 2) reject(recipe, "the prediction must be [batch, units]");
  check_dense(recipe, "prediction");
}

class UnitMeans {
 public:
  static constexpr double least = 1e-7, most = 1 - 1e-7;

  UnitMeans(const Recipe& recipe, std::span<void* const> buffers)
      : prediction_(pointer<const float>(recipe, buffers, "prediction")),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        batch_(recipe.operand("prediction").shape.dims[0]),
        threads_(recipe.threads),
        means_(static_cast<std::size_t>(recipe.operand("prediction").shape.dims[1])) {}

  std::int64_t units() const { return static_cast<std::int64_t>(means_.size()); }
  std::int64_t batch() const { return batch_; }
  std::int64_t rows() const { return Reduction::real_rows(*rows_, batch_); }
  int threads() const { return threads_; }
  double operator[](std::int64_t unit) const { return means_[static_cast<std::size_t>(unit)]; }

  /// At least one row is real. Each unit is one thread's, its rows in their order.
  void take() {
    const std::int64_t rows_now = rows();
    Blocks(units(), 256).for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      std::fill(means_.begin() + begin, means_.begin() + end, 0.0);
      for (std::int64_t row = 0; row < rows_now; ++row)
        for (std::int64_t unit = begin; unit < end; ++unit)
          means_[static_cast<std::size_t>(unit)] += prediction_[row * units() + unit];
      for (std::int64_t unit = begin; unit < end; ++unit)
        means_[static_cast<std::size_t>(unit)] /= static_cast<double>(rows_now);
    });
  }

 private:
  const float* prediction_;
  const double* rows_;
  std::int64_t batch_;
  int threads_;
  std::vector<double> means_;
};

}  // namespace weir::kernels
