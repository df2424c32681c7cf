// ℓ = Σ t·log(t / p) over a row, prediction p and target t clipped to [1e-7, 1]; no gradient where p was clipped.
// Profile pytorch: t·(log t - log p), 0 where t is 0, nothing clipped; its mean divides by the classes too.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double clip(double v) { return std::clamp(v, 1e-7, 1.0); }

/// Profile pytorch: a mean is one over all entries.
double share(const LossRow& row, const Attributes& attributes) {
  return attributes.is_word("reduction") && attributes.word("reduction") != "mean"
             ? 1
             : 1 / static_cast<double>(row.x.size());
}

double value(const LossRow& row, const Attributes& attributes) {
  double sum = 0;
  if (is_pytorch(attributes)) {
    for (std::size_t i = 0; i < row.x.size(); ++i)
      if (row.t[i] != 0) sum += row.t[i] * (std::log(row.t[i]) - std::log(row.x[i]));
    return sum * share(row, attributes);
  }
  for (std::size_t i = 0; i < row.x.size(); ++i) sum += clip(row.t[i]) * std::log(clip(row.t[i]) / clip(row.x[i]));
  return sum;
}
std::vector<double> slopes(const LossRow& row, const Attributes& attributes) {
  std::vector<double> result;
  if (is_pytorch(attributes)) {
    for (std::size_t i = 0; i < row.x.size(); ++i)
      result.push_back(row.t[i] == 0 ? 0 : -row.t[i] / row.x[i] * share(row, attributes));
    return result;
  }
  for (std::size_t i = 0; i < row.x.size(); ++i)
    result.push_back(row.x[i] < 1e-7 || row.x[i] > 1 ? 0 : -clip(row.t[i]) / row.x[i]);
  return result;
}

const char* formula(const Attributes& attributes) {
  if (!is_pytorch(attributes)) return "kl_divergence";
  const bool mean = !attributes.is_word("reduction") || attributes.word("reduction") == "mean";
  return mean ? "kl_divergence_by_entry" : "kl_divergence_unclipped";
}

void lower(LowerContext& c) { lower_rows(c, formula(c.attributes())); }

const OpDef kl_divergence_gradient = loss_gradient(
    "kl_divergence.gradient", "gradient = -target / prediction · weight / D, 0 where the prediction was clipped",
    infer_loss_gradient, lower, rows_gradient_reference<slopes>);

std::vector<double> slopes_of_target(const LossRow& row, const Attributes& attributes) {
  std::vector<double> result;
  if (is_pytorch(attributes)) {
    for (std::size_t i = 0; i < row.t.size(); ++i)
      result.push_back(row.t[i] == 0 ? 0 : (std::log(row.t[i]) - std::log(row.x[i]) + 1) * share(row, attributes));
    return result;
  }
  for (std::size_t i = 0; i < row.t.size(); ++i)
    result.push_back(row.t[i] < 1e-7 || row.t[i] > 1 ? 0 : std::log(row.t[i] / clip(row.x[i])) + 1);
  return result;
}
void lower_target(LowerContext& c) { lower_rows_target(c, formula(c.attributes())); }

const OpDef kl_divergence_target_gradient = loss_target_gradient(
    "kl_divergence.target_gradient",
    "target_gradient = (log(target / prediction) + 1) · weight / D, 0 where the target was clipped", lower_target,
    rows_target_gradient_reference<slopes_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, kl_divergence_gradient);
  emit_target_gradient(c, kl_divergence_target_gradient);
}

/// Predictions inside 0 and 1, targets with 0 and 1 among them.
double probabilities(std::size_t operand, std::int64_t i) {
  return operand ? 0.25 * static_cast<double>((i * 3) % 5) : 0.125 + 0.1875 * static_cast<double>((i * 3) % 5);
}
double classes(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : probabilities(0, i);
}

double inside(std::size_t operand, std::int64_t i) {
  return operand ? 0.1 + 0.15 * static_cast<double>((i * 2) % 5) : probabilities(0, i);
}

}  // namespace

extern const OpDef kl_divergence;
const OpDef kl_divergence{
    .name = "kl_divergence",
    .summary = "divergence of a predicted distribution from the target one",
    .equation = "value = mean over rows of Σ target · log(target / prediction)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .gradient = gradient,
    .lower = lower,
    .reference = rows_reference<value>,
    .pytorch = "nothing is clipped, a target of 0 counts 0, and reduction mean divides by the number of all entries",
    .class_target = true,
    .classification = true,
    .target_gradient = true,
    .instead_of_constant = "kl_sparsity",
    .examples = {{.name = "rows", .inputs = {batched({5}), batched({5})}, .fill = probabilities},
                 {.name = "image",
                  .inputs = {batched({2, 3, 4}), batched({2, 3, 4})},
                  .attributes = {{"reduction", std::string("batch_mean")}},
                  .fill = probabilities},
                 {.name = "one_hot",
                  .inputs = {batched({4}), batched({}, DType::i32)},
                  .attributes = {{"one_hot", std::int64_t{4}}},
                  .fill = classes},
                 {.name = "constant_target",
                  .inputs = {batched({4})},
                  .attributes = {{"constant", 0.25}},
                  .fill = probabilities},
                 {.name = "profile_pytorch",
                  .inputs = {batched({2, 5}), batched({2, 5})},
                  .attributes = {{"numerics", std::string("pytorch")}},
                  .fill = probabilities},
                 {.name = "profile_pytorch_batch_mean",
                  .inputs = {batched({2, 5}), batched({2, 5})},
                  .attributes = {{"numerics", std::string("pytorch")}, {"reduction", std::string("batch_mean")}},
                  .fill = probabilities},
                 {.name = "one_class", .inputs = {batched({1}), batched({1})}, .fill = probabilities, .batch = 1},
                 {.name = "target_gradient",
                  .inputs = {batched({2, 5}), batched({2, 5})},
                  .attributes = {{"target_gradient", true}},
                  .fill = inside}},
    .internals = {&kl_divergence_gradient, &kl_divergence_target_gradient},
};

}  // namespace weir::ops
