// y = x · Φ(x), Φ the standard normal distribution (D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016).
// approximate: y = x/2 · (1 + tanh(sqrt(2/π) · (x + 0.044715 · x³))). In training a second result, the slope, holds the
// derivative: most of its work is that of y, and the gradient reads it in the place of x.
#include <array>
#include <cmath>
#include <numbers>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  c.result("output", c.operand("input"));
  if (c.training()) c.result("slope", c.operand("input"));
}

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  KernelBuilder kernel = c.kernel("gelu");
  kernel.read("src", "input", layout).write("dst", "output", layout);
  if (c.training()) kernel.write("slope", "slope", layout);
  kernel.set("approximate", c.attributes().flag("approximate")).emit();
}

const double root_of_two_over_pi = std::sqrt(2 / std::numbers::pi);

double value(double x, bool approximate) {
  if (!approximate) return x / 2 * (1 + std::erf(x / std::numbers::sqrt2));
  return x / 2 * (1 + std::tanh(root_of_two_over_pi * (x + 0.044715 * x * x * x)));
}
/// Φ(x) + x · φ(x), φ the density; or the derivative of the approximation.
double slope(double x, bool approximate) {
  if (!approximate)
    return (1 + std::erf(x / std::numbers::sqrt2)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
  const double t = std::tanh(root_of_two_over_pi * (x + 0.044715 * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * root_of_two_over_pi * (1 + 3 * 0.044715 * x * x);
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const bool approximate = c.attributes().flag("approximate");
  for (std::int64_t i = 0; i < x.count(); ++i) {
    c.result()[i] = value(x[i], approximate);
    if (c.training()) c.result("slope")[i] = slope(x[i], approximate);
  }
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("slope")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("slope").shape.layout;
  c.kernel("pointwise")
      .read("a", "d_output", layout)
      .read("b", "slope", layout)
      .write("out", "gradient", layout)
      .set("expression", std::string("a * b"))
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &slope = c.operand("slope");
  for (std::int64_t i = 0; i < d.count(); ++i) c.result("gradient")[i] = d[i] * slope[i];
}
const OpDef gelu_gradient{
    .name = "gelu.gradient",
    .summary = "gradient of gelu",
    .equation = "d_input = d_output · slope",
    .role = Role::internal,
    .operands = {{"d_output"}, {"slope"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(gelu_gradient, {c.gradient(), c.result("slope")})[0]); }

/// Where the function is flat or a straight line, and its minimum.
double far_from_zero(std::size_t, std::int64_t element) {
  return std::array{-40.0, -6.0, -0.7517916, 1e-3, 6.0, 40.0}[static_cast<std::size_t>(element) % 6];
}

}  // namespace

extern const OpDef gelu;
const OpDef gelu{
    .name = "gelu",
    .summary = "Gaussian error linear unit",
    .equation = "output = input · Φ(input), Φ the standard normal distribution",
    .operands = {{"input"}},
    .results = {"output", "slope"},
    .attributes =
        {{.name = "approximate", .type = AttributeType::flag, .doc = "the form with tanh", .standard = false}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 17})}},
                 {.name = "approximate", .inputs = {batched({7})}, .attributes = {{"approximate", true}}},
                 {.name = "far_from_zero", .inputs = {batched({6})}, .fill = far_from_zero, .batch = 1},
                 {.name = "approximate_far_from_zero",
                  .inputs = {batched({6})},
                  .attributes = {{"approximate", true}},
                  .fill = far_from_zero,
                  .batch = 1},
                 {.name = "evaluation", .inputs = {batched({5})}, .training = false}},
    .internals = {&gelu_gradient},
};

}  // namespace weir::ops
