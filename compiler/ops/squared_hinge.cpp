// ℓ = mean over the last axis of max(1 - t'·prediction, 0)², t' the target, -1 or 1, or 2·target - 1 with zero_one.
#include <algorithm>

#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

double signed_target(double t, const Attributes& attributes) { return attributes.flag("zero_one") ? 2 * t - 1 : t; }

double error(double x, double t, const Attributes& attributes) {
  const double margin = std::max(1 - signed_target(t, attributes) * x, 0.0);
  return margin * margin;
}
double slope(double x, double t, const Attributes& attributes) {
  const double sign = signed_target(t, attributes);
  return -2 * sign * std::max(1 - sign * x, 0.0);
}

void lower(LowerContext& c) { lower_entries(c, "squared_hinge", {"zero_one"}); }

const OpDef squared_hinge_gradient =
    loss_gradient("squared_hinge.gradient", "gradient = -2 · t' · max(1 - t' · prediction, 0) · weight / D",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

void gradient(GradientContext& c) { emit_loss_gradient(c, squared_hinge_gradient); }

/// Predictions whose margin is never 0, then targets -1 and 1, or 0 and 1.
double prediction(std::int64_t i) { return static_cast<double>((i * 7) % 11) / 2 - 2.25; }
double signs(std::size_t operand, std::int64_t i) { return operand ? (i % 3 ? 1.0 : -1.0) : prediction(i); }
double bits(std::size_t operand, std::int64_t i) { return operand ? (i % 3 ? 1.0 : 0.0) : prediction(i); }

}  // namespace

extern const OpDef squared_hinge;
const OpDef squared_hinge{
    .name = "squared_hinge",
    .summary = "square of how far predictions are from the right side of a margin",
    .equation = "value = mean of max(1 - t' · prediction, 0)², t' the target as -1 or 1",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   {.name = "zero_one",
                    .type = AttributeType::flag,
                    .doc = "targets are 0 and 1, not -1 and 1",
                    .standard = false}},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .classification = true,
    .examples =
        {{.name = "signs", .inputs = {batched({5}), batched({5})}, .fill = signs},
         {.name = "image",
          .inputs = {batched({3, 2, 4}), batched({3, 2, 4})},
          .attributes = {{"reduction", std::string("batch_mean")}},
          .fill = signs},
         {.name = "zero_one", .inputs = {batched({4}), batched({4})}, .attributes = {{"zero_one", true}}, .fill = bits},
         {.name = "integer_target",
          .inputs = {batched({4}), batched({4}, DType::i32)},
          .attributes = {{"zero_one", true}},
          .fill = bits},
         {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 1.0}}, .fill = signs},
         {.name = "one", .inputs = {batched({1}), batched({1})}, .fill = signs, .batch = 1}},
    .internals = {&squared_hinge_gradient},
};

}  // namespace weir::ops
