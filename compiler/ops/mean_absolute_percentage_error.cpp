// ℓ = mean over the last axis of 100·|prediction - target| / max(|target|, 1e-7). A target of 0 makes it enormous; the
// subgradient at equality is 0.
#include <algorithm>

#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

double size(double t) { return std::max(std::abs(t), 1e-7); }
double error(double x, double t, const Attributes&) { return 100 * std::abs(x - t) / size(t); }
double slope(double x, double t, const Attributes&) { return (x > t ? 100 : x < t ? -100 : 0) / size(t); }

void lower(LowerContext& c) { lower_entries(c, "absolute_percentage_error"); }

const OpDef mean_absolute_percentage_error_gradient =
    loss_gradient("mean_absolute_percentage_error.gradient",
                  "gradient = 100 · sign(prediction - target) / max(|target|, 1e-7) · weight / D", infer_loss_gradient,
                  lower, entries_gradient_reference<slope>);

void gradient(GradientContext& c) { emit_loss_gradient(c, mean_absolute_percentage_error_gradient); }

double beside_counts(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(1 + (i * 3) % 5) : 0.25 + 0.5 * static_cast<double>((i * 7) % 11);
}

}  // namespace

extern const OpDef mean_absolute_percentage_error;
const OpDef mean_absolute_percentage_error{
    .name = "mean_absolute_percentage_error",
    .summary = "mean of the differences in percent of the target",
    .equation = "value = mean of 100 · |prediction - target| / max(|target|, 1e-7)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .examples = {{.name = "rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "image",
                  .inputs = {batched({3, 2, 4}), batched({3, 2, 4})},
                  .attributes = {{"reduction", std::string("batch_mean")}}},
                 {.name = "integer_target", .inputs = {batched({4}), batched({4}, DType::i32)}, .fill = beside_counts},
                 {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", -4.0}}},
                 {.name = "one", .inputs = {batched({1}), batched({1})}, .batch = 1}},
    .internals = {&mean_absolute_percentage_error_gradient},
};

}  // namespace weir::ops
