// ℓ = mean over the last axis of log cosh(prediction - target), by two forms: log(1 + 2 sinh²(e/2)) does not cancel
// near 0, |e| - log 2 + log(1 + e^-2|e|) does not overflow far from it.
#include <algorithm>

#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double error(double x, double t, const Attributes&) {
  const double e = std::abs(x - t), half = std::sinh(std::min(e, 1.0) / 2);
  return e < 1 ? std::log1p(2 * half * half) : e - std::log(2.0) + std::log1p(std::exp(-2 * e));
}
double slope(double x, double t, const Attributes&) { return std::tanh(x - t); }

void lower(LowerContext& c) { lower_entries(c, "log_cosh"); }

const OpDef log_cosh_gradient = loss_gradient("log_cosh.gradient", "gradient = tanh(prediction - target) · weight / D",
                                              infer_loss_gradient, lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double t, const Attributes& attributes) { return -slope(x, t, attributes); }
void lower_target(LowerContext& c) { lower_entries_target(c, "log_cosh"); }

const OpDef log_cosh_target_gradient =
    loss_target_gradient("log_cosh.target_gradient", "target_gradient = tanh(target - prediction) · weight / D",
                         lower_target, entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, log_cosh_gradient);
  emit_target_gradient(c, log_cosh_target_gradient);
}

/// Errors that overflow a cosh of f32, and small ones.
double far_apart(std::size_t operand, std::int64_t i) {
  return operand ? 0.25 : static_cast<double>((i * 5) % 9 - 4) * (i % 2 ? 40.0 : 0.125);
}

}  // namespace

extern const OpDef log_cosh;
const OpDef log_cosh{
    .name = "log_cosh",
    .summary = "logarithm of the hyperbolic cosine of the differences",
    .equation = "value = mean of log(cosh(prediction - target))",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .target_gradient = true,
    .examples = {{.name = "rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "image",
                  .inputs = {batched({3, 2, 4}), batched({3, 2, 4})},
                  .attributes = {{"reduction", std::string("batch_mean")}}},
                 {.name = "far_apart", .inputs = {batched({6}), batched({6})}, .fill = far_apart},
                 {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 0.5}}},
                 {.name = "one", .inputs = {batched({1}), batched({1})}, .batch = 1},
                 {.name = "target_gradient",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"target_gradient", true}}}},
    .internals = {&log_cosh_gradient, &log_cosh_target_gradient},
};

}  // namespace weir::ops
