// ℓ = mean over the last axis of (prediction - target)², without the half that some give it.
#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

double error(double x, double t, const Attributes&) { return (x - t) * (x - t); }
double slope(double x, double t, const Attributes&) { return 2 * (x - t); }

void lower(LowerContext& c) { lower_entries(c, "squared_error"); }

const OpDef mean_squared_error_gradient =
    loss_gradient("mean_squared_error.gradient", "gradient = 2 · (prediction - target) · weight / D",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

void gradient(GradientContext& c) { emit_loss_gradient(c, mean_squared_error_gradient); }

}  // namespace

extern const OpDef mean_squared_error;
const OpDef mean_squared_error{
    .name = "mean_squared_error",
    .summary = "mean of the squared differences",
    .equation = "value = mean of (prediction - target)²",
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
                 {.name = "image", .inputs = {batched({3, 2, 4}), batched({3, 2, 4})}},
                 {.name = "integer_target", .inputs = {batched({4}), batched({4}, DType::i32)}},
                 {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 0.5}}},
                 {.name = "sum",
                  .inputs = {batched({2, 3}), batched({2, 3})},
                  .attributes = {{"reduction", std::string("sum")}}},
                 {.name = "one", .inputs = {batched({1}), batched({1})}, .batch = 1}},
    .internals = {&mean_squared_error_gradient},
};

}  // namespace weir::ops
