// ℓ = mean over the last axis of e²/2 where |e| ≤ delta, else delta·|e| - delta²/2, e = prediction - target.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double error(double x, double t, const Attributes& attributes) {
  const double e = std::abs(x - t), delta = attributes.number("delta");
  return e <= delta ? e * e / 2 : delta * e - delta * delta / 2;
}
double slope(double x, double t, const Attributes& attributes) {
  const double e = x - t, delta = attributes.number("delta");
  return std::abs(e) <= delta ? e : std::copysign(delta, e);
}

void lower(LowerContext& c) { lower_entries(c, "huber", {"delta"}); }

const OpDef huber_gradient =
    loss_gradient("huber.gradient", "gradient = min(max(e, -delta), delta) · weight / D, e = prediction - target",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double t, const Attributes& attributes) { return -slope(x, t, attributes); }
void lower_target(LowerContext& c) { lower_entries_target(c, "huber", {"delta"}); }

const OpDef huber_target_gradient = loss_target_gradient(
    "huber.target_gradient", "target_gradient = min(max(e, -delta), delta) · weight / D, e = target - prediction",
    lower_target, entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, huber_gradient);
  emit_target_gradient(c, huber_target_gradient);
}

}  // namespace

extern const OpDef huber;
const OpDef huber{
    .name = "huber",
    .summary = "squared differences where they are small, absolute ones where they are large",
    .equation = "value = mean of e²/2 where |e| ≤ delta, else delta · (|e| - delta/2), e = prediction - target",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   {.name = "delta",
                    .doc = "where the square ends and the line begins",
                    .standard = 1.0,
                    .least = 0,
                    .exclusive_least = true}},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .target_gradient = true,
    .examples =
        {{.name = "rows", .inputs = {batched({5}), batched({5})}},
         {.name = "narrow", .inputs = {batched({3, 2, 4}), batched({3, 2, 4})}, .attributes = {{"delta", 0.25}}},
         {.name = "wide",
          .inputs = {batched({4}), batched({4})},
          .attributes = {{"delta", 2.0}, {"reduction", std::string("sum")}}},
         {.name = "integer_target", .inputs = {batched({4}), batched({4}, DType::i32)}, .attributes = {{"delta", 0.9}}},
         {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 0.0}, {"delta", 0.9}}},
         {.name = "one", .inputs = {batched({1}), batched({1})}, .batch = 1},
         {.name = "target_gradient",
          .inputs = {batched({3, 4}), batched({3, 4})},
          .attributes = {{"target_gradient", true}, {"delta", 1.5}}}},
    .internals = {&huber_gradient, &huber_target_gradient},
};

}  // namespace weir::ops
