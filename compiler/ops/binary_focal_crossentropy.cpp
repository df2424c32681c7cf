// ℓ = w·f^gamma·b, averaged over the last axis: b the binary crossentropy, f = t'(1 - p) + (1 - t')p the distance of p
// from its target, w = alpha·t' + (1 - alpha)(1 - t') with apply_class_balancing, else 1; t' = (1 - a)·t + a/2
// smoothed.
//   logits z:         p = sigmoid z,  b = max(z, 0) - z·t' + log(1 + e^-|z|)
//   probabilities p:  b from p clipped to [1e-7, 1 - 1e-7], f from p as it is
// ∂ℓ = w·(gamma·f^(gamma - 1)·∂f·b + f^gamma·∂b); where f = 0 and gamma < 1 the first part is taken as 0.
#include <algorithm>

#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

struct Focus {
  Focus(double x, double target, const Attributes& attributes) : gamma(attributes.number("gamma")) {
    const double smoothing = attributes.number("label_smoothing"), alpha = attributes.number("alpha");
    t = (1 - smoothing) * target + smoothing / 2;
    if (attributes.flag("apply_class_balancing")) weight = alpha * t + (1 - alpha) * (1 - t);
    if (reads_logits(attributes))
      read_logit(x);
    else
      read_probability(x);
  }

  double value() const { return weight * std::pow(f, gamma) * b; }
  double slope() const {
    const double inner = f == 0 && gamma < 1 ? 0 : gamma * std::pow(f, gamma - 1) * f_slope * b;
    return weight * (inner + std::pow(f, gamma) * b_slope);
  }

 private:
  void read_logit(double z) {
    const double p = 1 / (1 + std::exp(-z)), rest = 1 / (1 + std::exp(z));
    f = t * rest + (1 - t) * p;
    b = std::max(z, 0.0) - z * t + std::log1p(std::exp(-std::abs(z)));
    f_slope = (1 - 2 * t) * p * rest;
    b_slope = (1 - t) * p - t * rest;
  }
  void read_probability(double p) {
    const double q = std::clamp(p, 1e-7, 1 - 1e-7);
    f = t * (1 - p) + (1 - t) * p;
    b = -t * std::log(q) - (1 - t) * std::log(1 - q);
    f_slope = 1 - 2 * t;
    b_slope = p < 1e-7 || p > 1 - 1e-7 ? 0 : (1 - t) / (1 - p) - t / p;
  }

  double gamma, weight = 1, t, f = 0, b = 0, f_slope = 0, b_slope = 0;
};

double error(double x, double t, const Attributes& attributes) { return Focus(x, t, attributes).value(); }
double slope(double x, double t, const Attributes& attributes) { return Focus(x, t, attributes).slope(); }

void lower(LowerContext& c) {
  lower_entries(c,
                reads_logits(c.attributes()) ? "binary_focal_crossentropy_of_logits"
                                             : "binary_focal_crossentropy_of_probabilities",
                {"label_smoothing", "alpha", "gamma", "apply_class_balancing"});
}

const OpDef binary_focal_crossentropy_gradient = loss_gradient(
    "binary_focal_crossentropy.gradient", "gradient = w · (gamma · f^(gamma - 1) · f' · b + f^gamma · b') · weight / D",
    infer_loss_gradient, lower, entries_gradient_reference<slope>);

void gradient(GradientContext& c) { emit_loss_gradient(c, binary_focal_crossentropy_gradient); }

/// Probabilities away from 0 and 1, then targets 0 and 1.
double probabilities(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 3 == 0) : 0.1 + 0.8 * static_cast<double>((i * 7) % 10) / 10;
}
double bits_for_logits(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 2) : static_cast<double>((i * 5) % 9) - 4.25;
}

}  // namespace

extern const OpDef binary_focal_crossentropy;
const OpDef binary_focal_crossentropy{
    .name = "binary_focal_crossentropy",
    .summary = "binary crossentropy that looks away from what is already right",
    .equation = "value = mean of w · f^gamma · b, b the binary crossentropy, f = t'·(1 - p) + (1 - t')·p",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   label_smoothing_attribute("moves targets 0 and 1 towards 1/2"),
                   {.name = "alpha",
                    .doc = "weight of class 1 with apply_class_balancing, 1 - alpha that of class 0",
                    .standard = 0.25,
                    .least = 0,
                    .most = 1},
                   {.name = "gamma",
                    .doc = "how much entries near their target count less; 0: not at all",
                    .standard = 2.0,
                    .least = 0},
                   {.name = "apply_class_balancing",
                    .type = AttributeType::flag,
                    .doc = "weigh the classes by alpha",
                    .standard = false},
                   class_axis_attribute(),
                   class_weight_attribute("of one unit: what the classes 0 and 1 count")},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .logits_behind = "sigmoid",
    .classification = true,
    .examples = {{.name = "logits",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"from_logits", true}},
                  .fill = bits_for_logits},
                 {.name = "one_unit",
                  .inputs = {batched({1}), batched({1}, DType::i32)},
                  .attributes = {{"from_logits", true}},
                  .fill = bits_for_logits},
                 {.name = "balanced",
                  .inputs = {batched({2, 3}), batched({2, 3})},
                  .attributes = {{"from_logits", true},
                                 {"apply_class_balancing", true},
                                 {"alpha", 0.75},
                                 {"label_smoothing", 0.25}},
                  .fill = bits_for_logits},
                 {.name = "no_focus",
                  .inputs = {batched({4}), batched({4})},
                  .attributes = {{"from_logits", true}, {"gamma", 0.0}},
                  .fill = bits_for_logits},
                 {.name = "probabilities", .inputs = {batched({4}), batched({4})}, .fill = probabilities},
                 {.name = "sharp",
                  .inputs = {batched({2, 2}), batched({2, 2})},
                  .attributes = {{"gamma", 3.5}, {"label_smoothing", 0.1}, {"reduction", std::string("sum")}},
                  .fill = probabilities},
                 {.name = "constant_target",
                  .inputs = {batched({5})},
                  .attributes = {{"from_logits", true}, {"constant", 1.0}},
                  .fill = bits_for_logits}},
    .internals = {&binary_focal_crossentropy_gradient},
};

}  // namespace weir::ops
