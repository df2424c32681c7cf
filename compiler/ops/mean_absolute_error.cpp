// ℓ = mean over the last axis of |prediction - target|. The subgradient at 0 is 0, so an entry that relu switched off
// and that is to be 0 gets no gradient.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double error(double x, double t, const Attributes&) { return std::abs(x - t); }
double slope(double x, double t, const Attributes&) { return x > t ? 1 : x < t ? -1 : 0; }

void lower(LowerContext& c) { lower_entries(c, "absolute_error"); }

const OpDef mean_absolute_error_gradient =
    loss_gradient("mean_absolute_error.gradient", "gradient = sign(prediction - target) · weight / D",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double t, const Attributes& attributes) { return -slope(x, t, attributes); }
void lower_target(LowerContext& c) { lower_entries_target(c, "absolute_error"); }

const OpDef mean_absolute_error_target_gradient = loss_target_gradient(
    "mean_absolute_error.target_gradient", "target_gradient = sign(target - prediction) · weight / D", lower_target,
    entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, mean_absolute_error_gradient);
  emit_target_gradient(c, mean_absolute_error_target_gradient);
}

}  // namespace

extern const OpDef mean_absolute_error;
const OpDef mean_absolute_error{
    .name = "mean_absolute_error",
    .summary = "mean of the absolute differences",
    .equation = "value = mean of |prediction - target|",
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
                 {.name = "image", .inputs = {batched({3, 2, 4}), batched({3, 2, 4})}},
                 {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 0.0}}},
                 {.name = "sum",
                  .inputs = {batched({2, 3}), batched({2, 3})},
                  .attributes = {{"reduction", std::string("sum")}}},
                 {.name = "batch_mean",
                  .inputs = {batched({2, 3}), batched({2, 3})},
                  .attributes = {{"reduction", std::string("batch_mean")}}},
                 {.name = "no_axis", .inputs = {batched({}), batched({})}, .batch = 1},
                 {.name = "target_gradient",
                  .inputs = {batched({3, 2, 4}), batched({3, 2, 4})},
                  .attributes = {{"target_gradient", true}}}},
    .internals = {&mean_absolute_error_gradient, &mean_absolute_error_target_gradient},
};

}  // namespace weir::ops
