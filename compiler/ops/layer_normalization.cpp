// output = gamma · x̂ + beta, x̂ = (input - mean) / sqrt(variance + epsilon), mean and (biased) variance of each row
// over the last axis (J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016). With g = gamma · d_output:
//   d_input = (g - mean(g) - x̂ · mean(g · x̂)) / sqrt(variance + epsilon)
//   d_gamma = sum over rows of d_output · x̂, d_beta = sum over rows of d_output
#include <cmath>

#include "compiler/ir/op.hpp"
#include "compiler/ops/rows.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const TensorType& type = c.operand("input");
  if (type.dims.empty())
    c.fail(1, "layer_normalization needs an axis to normalize, but its input is " + to_string(type));
  if (const std::int64_t axis = c.attributes().integer("axis"); axis != -1)
    c.fail(2, "axis is " + std::to_string(axis) + ", but only -1, the last axis, is supported yet");
  const Dims channels{type.dims.back()};
  if (c.attributes().flag("scale")) c.parameter("gamma", channels, "o");
  if (c.attributes().flag("center")) c.parameter("beta", channels, "o");
  c.result("output", type);
  TensorType rows = type;
  rows.dims.pop_back();
  c.result("row_mean", rows);
  c.result("row_variance", rows);
}

void lower(LowerContext& c) {
  const Dims rows = rows_of(c.operand("input").shape);
  KernelBuilder kernel = c.kernel("layer_normalization_forward");
  kernel.read_as("src", "input", rows, "nc");
  if (c.has("gamma")) kernel.read("scale", "gamma");
  if (c.has("beta")) kernel.read("shift", "beta");
  kernel.write_as("dst", "output", rows, "nc")
      .write_as("mean", "row_mean", {rows[0]}, "n")
      .write_as("variance", "row_variance", {rows[0]}, "n")
      .set("epsilon", c.attributes().number("epsilon"))
      .emit();
}

/// One row, normalized by its own mean and variance.
struct Row {
  Row(const Array& x, std::int64_t row, std::int64_t size, double epsilon) : first(row * size) {
    for (std::int64_t i = 0; i < size; ++i) mean += x[first + i] / static_cast<double>(size);
    for (std::int64_t i = 0; i < size; ++i)
      variance += (x[first + i] - mean) * (x[first + i] - mean) / static_cast<double>(size);
    scale = 1 / std::sqrt(variance + epsilon);
  }
  std::int64_t first;
  double mean = 0, variance = 0, scale = 0;
};

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const std::int64_t size = x.dims.back();
  for (std::int64_t r = 0; r < x.count() / size; ++r) {
    const Row row(x, r, size, c.attributes().number("epsilon"));
    c.result("row_mean")[r] = row.mean;
    c.result("row_variance")[r] = row.variance;
    for (std::int64_t i = 0; i < size; ++i) {
      const double gamma = c.has("gamma") ? c.operand("gamma")[i] : 1, beta = c.has("beta") ? c.operand("beta")[i] : 0;
      c.result()[row.first + i] = gamma * (x[row.first + i] - row.mean) * row.scale + beta;
    }
  }
}

/// One node for all three: the primitive computes them in one pass.
void gradient_infer(InferContext& c) {
  c.result("d_input", c.forward_operand("input"));
  if (c.attributes().flag("scale")) c.result("d_gamma", c.forward_operand("gamma"));
  if (c.attributes().flag("center")) c.result("d_beta", c.forward_operand("beta"));
}
void gradient_lower(LowerContext& c) {
  const Dims rows = rows_of(c.operand("input").shape);
  KernelBuilder kernel = c.kernel("layer_normalization_backward");
  kernel.read_as("src", "input", rows, "nc").read_as("diff_dst", "d_output", rows, "nc");
  kernel.read_as("mean", "row_mean", {rows[0]}, "n").read_as("variance", "row_variance", {rows[0]}, "n");
  if (c.has("gamma")) kernel.read("scale", "gamma");
  kernel.write_as("diff_src", "d_input", rows, "nc");
  if (c.attributes().flag("scale")) kernel.write("diff_scale", "d_gamma");
  if (c.attributes().flag("center")) kernel.write("diff_shift", "d_beta");
  kernel.set("epsilon", c.attributes().number("epsilon")).emit();
}

void gradient_of_row(ReferenceContext& c, const Row& row, std::int64_t size) {
  const Array &x = c.operand("input"), &d = c.operand("d_output");
  const auto gamma = [&](std::int64_t i) { return c.has("gamma") ? c.operand("gamma")[i] : 1; };
  const auto normalized = [&](std::int64_t i) { return (x[row.first + i] - row.mean) * row.scale; };
  double mean = 0, along = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    const double g = gamma(i) * d[row.first + i];
    mean += g / static_cast<double>(size);
    along += g * normalized(i) / static_cast<double>(size);
    if (c.attributes().flag("scale")) c.result("d_gamma")[i] += d[row.first + i] * normalized(i);
    if (c.attributes().flag("center")) c.result("d_beta")[i] += d[row.first + i];
  }
  for (std::int64_t i = 0; i < size; ++i)
    c.result("d_input")[row.first + i] = (gamma(i) * d[row.first + i] - mean - normalized(i) * along) * row.scale;
}
void gradient_reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const std::int64_t size = x.dims.back();
  for (std::int64_t r = 0; r < x.count() / size; ++r)
    gradient_of_row(c, Row(x, r, size, c.attributes().number("epsilon")), size);
}
const OpDef layer_normalization_gradient{
    .name = "layer_normalization.gradient",
    .summary = "gradient of layer_normalization by its input, gamma and beta",
    .equation =
        "d_input = (g - mean(g) - x̂ · mean(g · x̂)) / sqrt(variance + epsilon) with g = gamma · d_output; "
        "d_gamma = sum over rows of d_output · x̂, d_beta = sum over rows of d_output",
    .role = Role::internal,
    .operands = {{"input"}, {"d_output"}, {"row_mean"}, {"row_variance"}, {"gamma", OperandKind::value, true}},
    .results = {"d_input", "d_gamma", "d_beta"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  const auto results = c.emit(layer_normalization_gradient, {c.operand("input"), c.gradient(), c.result("row_mean"),
                                                             c.result("row_variance"), c.operand("gamma")});
  if (c.wants("input")) c.set("input", results[0]);
  if (c.attributes().flag("scale") && c.wants("gamma")) c.set("gamma", results[1]);
  if (c.attributes().flag("center") && c.wants("beta")) c.set("beta", results[2]);
}

}  // namespace

extern const OpDef layer_normalization;
const OpDef layer_normalization{
    .name = "layer_normalization",
    .summary = "each row to mean beta and standard deviation gamma",
    .equation = "output = gamma · (input - mean) / sqrt(variance + epsilon) + beta, over the last axis of each row",
    .operands = {{"input"}, {"gamma", OperandKind::parameter, true}, {"beta", OperandKind::parameter, true}},
    .results = {"output", "row_mean", "row_variance"},
    .attributes =
        {{.name = "axis",
          .type = AttributeType::axis,
          .doc = "the axis that is normalized",
          .standard = std::int64_t{-1}},
         {.name = "epsilon", .doc = "added to the variance", .standard = 1e-3, .least = 0, .exclusive_least = true},
         {.name = "center", .type = AttributeType::flag, .doc = "add beta", .standard = true},
         {.name = "scale", .type = AttributeType::flag, .doc = "multiply by gamma", .standard = true},
         {.name = "beta_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of beta",
          .standard = Initializer{"zeros", {}, {}}},
         {.name = "gamma_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of gamma",
          .standard = Initializer{"ones", {}, {}}}},
    .constraints = {"C1: the input has at least one axis besides the batch", "C2: axis is -1"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "rows", .inputs = {batched({7})}},
                 {.name = "sequence", .inputs = {batched({4, 16})}, .attributes = {{"epsilon", 1e-5}}},
                 {.name = "image", .inputs = {batched({2, 3, 9})}},
                 {.name = "without_parameters",
                  .inputs = {batched({5})},
                  .attributes = {{"scale", false}, {"center", false}}},
                 {.name = "without_center", .inputs = {batched({6})}, .attributes = {{"center", false}}},
                 {.name = "without_scale", .inputs = {batched({6})}, .attributes = {{"scale", false}}},
                 {.name = "two_channels", .inputs = {batched({2})}, .attributes = {{"epsilon", 0.5}}, .batch = 1}},
    .internals = {&layer_normalization_gradient},
};

}  // namespace weir::ops
