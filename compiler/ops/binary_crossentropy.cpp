// t' = (1 - a)·t + a/2, a the label smoothing; averaged over the last axis.
//   logits z:         ℓ = max(z, 0) - z·t' + log(1 + e^-|z|)             ∂ℓ/∂z = sigmoid(z) - t'
//   probabilities p:  ℓ = -t'·log q - (1 - t')·log(1 - q),               ∂ℓ/∂p = (1 - t') / (1 - p) - t' / p, 0 where p
//   was clipped
//                     q = p clipped to [1e-7, 1 - 1e-7]
// Profile pytorch, from probabilities: logarithms at least -100, ∂ℓ/∂p = (p - t') / max(p·(1 - p), 1e-12).
#include <algorithm>

#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double smoothed(double t, const Attributes& attributes) {
  const double smoothing = attributes.number("label_smoothing");
  return (1 - smoothing) * t + smoothing / 2;
}

double crossentropy(double x, double t, const Attributes& attributes) {
  t = smoothed(t, attributes);
  if (reads_logits(attributes)) return std::max(x, 0.0) - x * t + std::log1p(std::exp(-std::abs(x)));
  if (is_pytorch(attributes)) return -t * std::max(std::log(x), -100.0) - (1 - t) * std::max(std::log1p(-x), -100.0);
  const double q = std::clamp(x, 1e-7, 1 - 1e-7);
  return -t * std::log(q) - (1 - t) * std::log(1 - q);
}

double slope(double x, double t, const Attributes& attributes) {
  t = smoothed(t, attributes);
  if (reads_logits(attributes)) return 1 / (1 + std::exp(-x)) - t;
  if (is_pytorch(attributes)) return (x - t) / std::max(x * (1 - x), 1e-12);
  return x < 1e-7 || x > 1 - 1e-7 ? 0 : (1 - t) / (1 - x) - t / x;
}

const char* formula(const Attributes& attributes) {
  if (reads_logits(attributes)) return "binary_crossentropy_of_logits";
  return is_pytorch(attributes) ? "binary_crossentropy_floored" : "binary_crossentropy_of_probabilities";
}

void lower(LowerContext& c) { lower_entries(c, formula(c.attributes()), {"label_smoothing"}); }

const OpDef binary_crossentropy_gradient =
    loss_gradient("binary_crossentropy.gradient", "gradient = (sigmoid(prediction) - t') · weight / D, from logits",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double, const Attributes& attributes) {
  const double keep = 1 - attributes.number("label_smoothing"), q = std::clamp(x, 1e-7, 1 - 1e-7);
  if (reads_logits(attributes)) return -keep * x;
  if (is_pytorch(attributes)) return keep * (std::max(std::log1p(-x), -100.0) - std::max(std::log(x), -100.0));
  return keep * (std::log(1 - q) - std::log(q));
}
void lower_target(LowerContext& c) { lower_entries_target(c, formula(c.attributes()), {"label_smoothing"}); }

const OpDef binary_crossentropy_target_gradient =
    loss_target_gradient("binary_crossentropy.target_gradient",
                         "target_gradient = -prediction · (1 - label_smoothing) · weight / D, from logits",
                         lower_target, entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, binary_crossentropy_gradient);
  emit_target_gradient(c, binary_crossentropy_target_gradient);
}

/// Probabilities away from 0 and 1, then targets 0 and 1.
double probabilities(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 3 == 0) : 0.1 + 0.8 * static_cast<double>((i * 7) % 10) / 10;
}
double bits_for_logits(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 2) : static_cast<double>((i * 5) % 9) - 4.25;
}

}  // namespace

extern const OpDef binary_crossentropy;
const OpDef binary_crossentropy{
    .name = "binary_crossentropy",
    .summary = "crossentropy of yes-or-no targets, each entry by itself",
    .equation = "value = mean of -t'·log(prediction) - (1 - t')·log(1 - prediction)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), label_smoothing_attribute("moves targets 0 and 1 towards 1/2"),
                   class_axis_attribute(), class_weight_attribute("of one unit: what the classes 0 and 1 count")},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<crossentropy>,
    .pytorch = "from probabilities, each logarithm is at least -100, and the slope is (p - t) / max(p·(1 - p), 1e-12)",
    .logits_behind = "sigmoid",
    .classification = true,
    .target_gradient = true,
    .examples = {{.name = "logits",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"from_logits", true}},
                  .fill = bits_for_logits},
                 {.name = "one_unit",
                  .inputs = {batched({1}), batched({1}, DType::i32)},
                  .attributes = {{"from_logits", true}},
                  .fill = bits_for_logits},
                 {.name = "smoothed",
                  .inputs = {batched({2, 3}), batched({2, 3})},
                  .attributes = {{"from_logits", true}, {"label_smoothing", 0.25}},
                  .fill = bits_for_logits},
                 {.name = "probabilities", .inputs = {batched({4}), batched({4})}, .fill = probabilities},
                 {.name = "profile_pytorch",
                  .inputs = {batched({4}), batched({4})},
                  .attributes = {{"numerics", std::string("pytorch")}, {"label_smoothing", 0.25}},
                  .fill = probabilities},
                 {.name = "smoothed_probabilities",
                  .inputs = {batched({2, 2}), batched({2, 2})},
                  .attributes = {{"label_smoothing", 0.1}},
                  .fill = probabilities},
                 {.name = "constant_target",
                  .inputs = {batched({5})},
                  .attributes = {{"from_logits", true}, {"constant", 1.0}},
                  .fill = bits_for_logits},
                 {.name = "target_gradient_beside_logits",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"target_gradient", true}, {"from_logits", true}, {"label_smoothing", 0.25}},
                  .fill = bits_for_logits},
                 {.name = "target_gradient_beside_probabilities",
                  .inputs = {batched({4}), batched({4})},
                  .attributes = {{"target_gradient", true}, {"label_smoothing", 0.1}},
                  .fill = probabilities}},
    .internals = {&binary_crossentropy_gradient, &binary_crossentropy_target_gradient},
};

}  // namespace weir::ops
