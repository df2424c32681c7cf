// What overlap and overlap_gradient have in common: their operands, and the three sums over the real rows.
#pragma once

#include <span>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/reduction.hpp"

namespace weir::kernels {

/// Roles prediction f32 [batch, entries], target (the same in f32 or i32, or absent with the setting "constant"), rows,
/// and `more`; settings alpha, beta, epsilon.
inline void check_overlap(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  const RecipeOperand* target = recipe.find("target");
  std::vector<OperandRule> rules(more);
  rules.insert(rules.end(), {{"prediction"}, {"rows", Access::read, DType::f64}});
  if (target) rules.push_back({"target", Access::read, target->dtype == DType::i32 ? DType::i32 : DType::f32});
  check_operands(recipe, rules);
  for (const char* name : {"alpha", "beta", "epsilon"}) number_setting(recipe, name, 0, 3.5e38);
  if (target) {
    check_attribute_names(recipe, {"alpha", "beta", "epsilon"});
    check_equal_shapes(recipe, "prediction", "target");
  } else {
    check_attribute_names(recipe, {"alpha", "beta", "epsilon", "constant"});
    number_setting(recipe, "constant", -3.5e38, 3.5e38);
  }
  if (recipe.operand("prediction").shape.dims.size() != 2) reject(recipe, "the prediction must be [batch, entries]");
  check_dense(recipe, "prediction");
}

/// value = 1 - common / divisor.
class Overlap {
 public:
  Overlap(const Recipe& recipe, std::span<void* const> buffers)
      : prediction_(pointer<const float>(recipe, buffers, "prediction")),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        alpha_(recipe.attributes.number("alpha")),
        beta_(recipe.attributes.number("beta")),
        epsilon_(recipe.attributes.number("epsilon")),
        batch_(recipe.operand("prediction").shape.dims[0]),
        sample_(recipe.operand("prediction").shape.dims[1]),
        threads_(recipe.threads),
        sum_(batch_ * sample_, block) {
    const RecipeOperand* target = recipe.find("target");
    if (!target)
      constant_ = recipe.attributes.number("constant");
    else if (target->dtype == DType::i32)
      integers_ = pointer<const std::int32_t>(recipe, buffers, "target");
    else
      floats_ = pointer<const float>(recipe, buffers, "target");
  }

  static constexpr std::int64_t block = 8192;

  std::int64_t entries() const { return batch_ * sample_; }
  std::int64_t real_entries() const { return Reduction::real_rows(*rows_, batch_) * sample_; }
  double target(std::int64_t i) const {
    return floats_ ? static_cast<double>(floats_[i]) : integers_ ? static_cast<double>(integers_[i]) : constant_;
  }

  /// Over the real rows; the order of the sums is fixed.
  void add_up() {
    common_ = total([&](std::int64_t i) { return target(i) * prediction_[i]; });
    const double targets = total([&](std::int64_t i) { return target(i); });
    const double predictions = total([&](std::int64_t i) { return static_cast<double>(prediction_[i]); });
    divisor_ = common_ + alpha_ * (targets - common_) + beta_ * (predictions - common_) + epsilon_;
  }

  double value() const { return 1 - common_ / divisor_; }
  double slope(double target) const {
    return (common_ * ((1 - alpha_ - beta_) * target + beta_) - target * divisor_) / (divisor_ * divisor_);
  }
  int threads() const { return threads_; }

 private:
  template <class Entry>
  double total(Entry&& entry) {
    return sum_(real_entries(), threads_, [&](std::int64_t begin, std::int64_t end) {
      double sum = 0;
      for (std::int64_t i = begin; i < end; ++i) sum += entry(i);
      return sum;
    });
  }

  const float *prediction_, *floats_ = nullptr;
  const std::int32_t* integers_ = nullptr;
  double constant_ = 0;
  const double* rows_;
  double alpha_, beta_, epsilon_;
  std::int64_t batch_, sample_;
  int threads_;
  BlockSum sum_;
  double common_ = 0, divisor_ = 1;
};

}  // namespace weir::kernels
