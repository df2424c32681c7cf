// ℓ = crossentropy of a row of targets with a row of predictions, one number a row; the forms are in crossentropy.hpp.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

const OpDef categorical_crossentropy_gradient = loss_gradient(
    "categorical_crossentropy.gradient", "gradient = (softmax(prediction) - t') · weight / D, from logits",
    infer_loss_gradient, lower_crossentropy<false>, crossentropy_gradient_reference<false>);

/// ∂ℓ/∂t' is the part of ℓ that t' multiplies.
std::vector<double> slopes_of_target(const CrossentropyRow& row, const Attributes& attributes) {
  std::vector<double> result;
  const double sum = CrossentropyRow::sum(row.x);
  const bool logits = reads_logits(attributes);
  const Exponentials exponentials(row.x);
  for (double x : row.x)
    result.push_back(logits ? exponentials.maximum - x + std::log(exponentials.sum)
                            : -std::log(clip_probability(x / sum)));
  return result;
}
void lower_target(LowerContext& c) {
  KernelBuilder kernel = c.kernel("crossentropy_target_gradient");
  kernel.set("form", std::string(crossentropy_formula(c.attributes(), false).word));
  kernel.set("label_smoothing", smoothing_of(c.attributes()));
  finish_rows_target(c, kernel);
}

const OpDef categorical_crossentropy_target_gradient = loss_target_gradient(
    "categorical_crossentropy.target_gradient",
    "target_gradient = (log Σ exp(prediction) - prediction) · (1 - label_smoothing) · weight / D, from logits",
    lower_target, rows_target_gradient_reference<slopes_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, categorical_crossentropy_gradient);
  emit_target_gradient(c, categorical_crossentropy_target_gradient);
}

/// A row of logits; targets of 1/2 and 1/4, whose sum is not 1 in general.
double logits(std::size_t operand, std::int64_t i) {
  return operand ? 0.25 * static_cast<double>(1 + i % 3) : static_cast<double>((i * 7) % 11) / 2 - 2.5;
}
double positive(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 4 == 1) : 0.125 + 0.25 * static_cast<double>((i * 3) % 5);
}
double classes_for_logits(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : logits(0, i);
}

}  // namespace

extern const OpDef categorical_crossentropy;
const OpDef categorical_crossentropy{
    .name = "categorical_crossentropy",
    .summary = "crossentropy of a distribution over classes",
    .equation = "value = mean over rows of -Σ t'·log(prediction)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), label_smoothing_attribute("moves targets towards 1 / classes"),
                   class_axis_attribute(), class_weight_attribute(), ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .gradient = gradient,
    .lower = lower_crossentropy<false>,
    .reference = crossentropy_reference<false>,
    .logits_behind = "softmax",
    .class_target = true,
    .classification = true,
    .target_gradient = true,
    .examples = {{.name = "one_hot",
                  .inputs = {batched({4}), batched({}, DType::i32)},
                  .attributes = {{"from_logits", true}, {"one_hot", std::int64_t{4}}},
                  .fill = classes_for_logits},
                 {.name = "distribution",
                  .inputs = {batched({5}), batched({5})},
                  .attributes = {{"from_logits", true}},
                  .fill = logits},
                 {.name = "smoothed",
                  .inputs = {batched({2, 4}), batched({2}, DType::i32)},
                  .attributes = {{"from_logits", true}, {"one_hot", std::int64_t{4}}, {"label_smoothing", 0.2}},
                  .fill = classes_for_logits},
                 {.name = "image",
                  .inputs = {batched({2, 3, 3}), batched({2, 3, 3})},
                  .attributes = {{"from_logits", true}, {"reduction", std::string("batch_mean")}},
                  .fill = logits},
                 {.name = "probabilities", .inputs = {batched({4}), batched({4})}, .fill = positive},
                 {.name = "smoothed_probabilities",
                  .inputs = {batched({3}), batched({3})},
                  .attributes = {{"label_smoothing", 0.2}},
                  .fill = positive},
                 {.name = "constant_target",
                  .inputs = {batched({4})},
                  .attributes = {{"from_logits", true}, {"constant", 0.25}},
                  .fill = logits},
                 {.name = "one_class",
                  .inputs = {batched({1}), batched({1})},
                  .attributes = {{"from_logits", true}},
                  .fill = logits,
                  .batch = 1},
                 {.name = "target_gradient_beside_logits",
                  .inputs = {batched({2, 4}), batched({2, 4})},
                  .attributes = {{"target_gradient", true}, {"from_logits", true}, {"label_smoothing", 0.2}},
                  .fill = logits},
                 {.name = "target_gradient_beside_probabilities",
                  .inputs = {batched({4}), batched({4})},
                  .attributes = {{"target_gradient", true}},
                  .fill = positive}},
    .internals = {&categorical_crossentropy_gradient, &categorical_crossentropy_target_gradient},
};

}  // namespace weir::ops
