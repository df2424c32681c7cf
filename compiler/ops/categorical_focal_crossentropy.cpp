// ℓ = Σ -alpha·t'·(1 - q)^gamma·log q over a row, q = p / Σ p clipped to [1e-7, 1 - 1e-7] (no gradient where it was),
// t' = (1 - a)·t + a/C smoothed; p the prediction or, from logits, its softmax. With g = ∂ℓ/∂q:
//   probabilities:  ∂ℓ/∂p = (g - Σ g·q) / Σ p          logits:  ∂ℓ/∂z = q·(g - Σ g·q), q unclipped
#include "compiler/ops/row_loss.hpp"

namespace weir::ops {
namespace {

/// p / Σ p, and Σ p, which is 1 from logits.
struct Shares {
  Shares(const LossRow& row, const Attributes& attributes) : q(row.x) {
    const bool logits = reads_logits(attributes);
    const Exponentials exponentials(row.x);
    sum = logits ? 1 : CrossentropyRow::sum(row.x);
    for (double& x : q) x = logits ? std::exp(x - exponentials.maximum) / exponentials.sum : x / sum;
  }
  std::vector<double> q;
  double sum;
};

double value(const LossRow& row, const Attributes& attributes) {
  const double alpha = attributes.number("alpha"), gamma = attributes.number("gamma");
  const Shares shares(row, attributes);
  double sum = 0;
  for (std::size_t i = 0; i < row.x.size(); ++i) {
    const double q = clip_probability(shares.q[i]);
    sum -= alpha * row.t[i] * std::pow(1 - q, gamma) * std::log(q);
  }
  return sum;
}

std::vector<double> slopes(const LossRow& row, const Attributes& attributes) {
  const double alpha = attributes.number("alpha"), gamma = attributes.number("gamma");
  const Shares shares(row, attributes);
  std::vector<double> result(row.x.size());
  double mean = 0;
  for (std::size_t i = 0; i < row.x.size(); ++i) {
    const double q = shares.q[i];
    if (is_clipped(q)) continue;
    result[i] = alpha * row.t[i] * (gamma * std::pow(1 - q, gamma - 1) * std::log(q) - std::pow(1 - q, gamma) / q);
    mean += result[i] * q;
  }
  for (std::size_t i = 0; i < row.x.size(); ++i)
    result[i] = (result[i] - mean) * (reads_logits(attributes) ? shares.q[i] : 1 / shares.sum);
  return result;
}

void lower(LowerContext& c) {
  lower_rows(c,
             reads_logits(c.attributes()) ? "categorical_focal_crossentropy_of_logits"
                                          : "categorical_focal_crossentropy_of_probabilities",
             {"label_smoothing", "alpha", "gamma"});
}

const OpDef categorical_focal_crossentropy_gradient =
    loss_gradient("categorical_focal_crossentropy.gradient",
                  "gradient = q · (g - Σ g · q) · weight / D, from logits, g the derivative by q", infer_loss_gradient,
                  lower, rows_gradient_reference<slopes>);

void gradient(GradientContext& c) { emit_loss_gradient(c, categorical_focal_crossentropy_gradient); }

double logits(std::size_t operand, std::int64_t i) {
  return operand ? 0.25 * static_cast<double>(1 + i % 3) : static_cast<double>((i * 7) % 11) / 2 - 2.5;
}
double positive(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 4 == 1) : 0.125 + 0.25 * static_cast<double>((i * 3) % 5);
}
double classes(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : logits(0, i);
}

}  // namespace

extern const OpDef categorical_focal_crossentropy;
const OpDef categorical_focal_crossentropy{
    .name = "categorical_focal_crossentropy",
    .summary = "categorical crossentropy that looks away from what is already right",
    .equation = "value = mean over rows of Σ -alpha · t' · (1 - q)^gamma · log q, q = prediction / Σ prediction",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   label_smoothing_attribute("moves targets towards 1 / classes"),
                   {.name = "alpha", .doc = "factor of every class", .standard = 0.25, .least = 0, .most = 3e38},
                   {.name = "gamma",
                    .doc = "how much classes near their target count less; 0: not at all",
                    .standard = 2.0,
                    .least = 0},
                   class_axis_attribute(),
                   class_weight_attribute(),
                   ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .gradient = gradient,
    .lower = lower,
    .reference = rows_reference<value>,
    .logits_behind = "softmax",
    .class_target = true,
    .classification = true,
    .examples = {{.name = "one_hot",
                  .inputs = {batched({4}), batched({}, DType::i32)},
                  .attributes = {{"from_logits", true}, {"one_hot", std::int64_t{4}}},
                  .fill = classes},
                 {.name = "distribution",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"from_logits", true}},
                  .fill = logits},
                 {.name = "smoothed",
                  .inputs = {batched({2, 4}), batched({2}, DType::i32)},
                  .attributes = {{"from_logits", true},
                                 {"label_smoothing", 0.2},
                                 {"gamma", 0.5},
                                 {"alpha", 1.0},
                                 {"one_hot", std::int64_t{4}}},
                  .fill = classes},
                 {.name = "image",
                  .inputs = {batched({2, 3, 3}), batched({2, 3, 3})},
                  .attributes = {{"from_logits", true}, {"gamma", 0.0}, {"reduction", std::string("batch_mean")}},
                  .fill = logits},
                 {.name = "probabilities", .inputs = {batched({4}), batched({4})}, .fill = positive},
                 {.name = "constant_target",
                  .inputs = {batched({4})},
                  .attributes = {{"from_logits", true}, {"constant", 0.25}},
                  .fill = logits},
                 {.name = "one_class",
                  .inputs = {batched({1}), batched({1})},
                  .attributes = {{"from_logits", true}},
                  .fill = logits,
                  .batch = 1}},
    .internals = {&categorical_focal_crossentropy_gradient},
};

}  // namespace weir::ops
