// ℓ = -Σ x·t / (|x|·|t|) over a row, from -1 (parallel) to 1; each length is at least 1e-7. A row of zeros has no
// direction and gets no gradient.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

struct Lengths {
  explicit Lengths(const LossRow& row) {
    double xx = 0, tt = 0, xt = 0;
    for (std::size_t i = 0; i < row.x.size(); ++i)
      xx += row.x[i] * row.x[i], tt += row.t[i] * row.t[i], xt += row.x[i] * row.t[i];
    of_x = std::sqrt(xx), of_t = std::max(std::sqrt(tt), 1e-7);
    cosine = xt / (std::max(of_x, 1e-7) * of_t);
  }
  double of_x, of_t, cosine;
};

double value(const LossRow& row, const Attributes& attributes) {
  return (is_pytorch(attributes) ? 1 : 0) - Lengths(row).cosine;
}
std::vector<double> slopes(const LossRow& row, const Attributes&) {
  const Lengths lengths(row);
  std::vector<double> result(row.x.size());
  if (lengths.of_x == 0) return result;
  for (std::size_t i = 0; i < row.x.size(); ++i) {
    const double along = lengths.of_x < 1e-7 ? 0 : lengths.cosine * row.x[i] / lengths.of_x;
    result[i] = (along - row.t[i] / lengths.of_t) / std::max(lengths.of_x, 1e-7);
  }
  return result;
}

void lower(LowerContext& c) { lower_rows(c, is_pytorch(c.attributes()) ? "cosine_distance" : "cosine_similarity"); }

const OpDef cosine_similarity_gradient =
    loss_gradient("cosine_similarity.gradient",
                  "gradient = (cosine · prediction / |prediction| - target / |target|) / |prediction| · weight / D",
                  infer_loss_gradient, lower, rows_gradient_reference<slopes>);

std::vector<double> slopes_of_target(const LossRow& row, const Attributes& attributes) {
  return slopes({row.t, row.x}, attributes);
}
void lower_target(LowerContext& c) {
  lower_rows_target(c, is_pytorch(c.attributes()) ? "cosine_distance" : "cosine_similarity");
}

const OpDef cosine_similarity_target_gradient = loss_target_gradient(
    "cosine_similarity.target_gradient",
    "target_gradient = (cosine · target / |target| - prediction / |prediction|) / |target| · weight / D", lower_target,
    rows_target_gradient_reference<slopes_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, cosine_similarity_gradient);
  emit_target_gradient(c, cosine_similarity_target_gradient);
}

double classes(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : static_cast<double>((i * 7) % 11) / 2 - 2.25;
}

}  // namespace

extern const OpDef cosine_similarity;
const OpDef cosine_similarity{
    .name = "cosine_similarity",
    .summary = "how far rows point away from their targets, whatever their lengths",
    .equation = "value = mean over rows of -Σ prediction · target / (|prediction| · |target|)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), class_axis_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .gradient = gradient,
    .lower = lower,
    .reference = rows_reference<value>,
    .pytorch = "1 is added, so that the least value is 0",
    .class_target = true,
    .target_gradient = true,
    .examples = {{.name = "rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "image",
                  .inputs = {batched({2, 3, 4}), batched({2, 3, 4})},
                  .attributes = {{"reduction", std::string("sum")}}},
                 {.name = "one_hot",
                  .inputs = {batched({4}), batched({}, DType::i32)},
                  .attributes = {{"one_hot", std::int64_t{4}}},
                  .fill = classes},
                 {.name = "constant_target", .inputs = {batched({4})}, .attributes = {{"constant", 2.0}}},
                 {.name = "one_class", .inputs = {batched({1}), batched({1})}, .batch = 1},
                 {.name = "target_gradient",
                  .inputs = {batched({3, 4}), batched({3, 4})},
                  .attributes = {{"target_gradient", true}}}},
    .internals = {&cosine_similarity_gradient, &cosine_similarity_target_gradient},
};

}  // namespace weir::ops
