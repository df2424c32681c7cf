// y = 1 / (1 + e^-x). The gradient reads y, so x may be overwritten.
#include <array>
#include <cmath>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  c.kernel("eltwise_forward")
      .read("src", "input", layout)
      .write("dst", "output", layout)
      .set("algorithm", "logistic")
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[i] = 1 / (1 + std::exp(-x[i]));
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("output")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("output").shape.layout;
  c.kernel("pointwise")
      .read("a", "d_output", layout)
      .read("b", "output", layout)
      .write("out", "gradient", layout)
      .set("expression", "a * b * (1 - b)")
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &y = c.operand("output"), &d = c.operand("d_output");
  for (std::int64_t i = 0; i < y.count(); ++i) c.result("gradient")[i] = d[i] * y[i] * (1 - y[i]);
}
const OpDef sigmoid_gradient{
    .name = "sigmoid.gradient",
    .summary = "gradient of sigmoid",
    .equation = "d_input = d_output · output · (1 - output)",
    .role = Role::internal,
    .operands = {{"d_output"}, {"output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(sigmoid_gradient, {c.gradient(), c.result("output")})[0]); }

/// Where the function is flat, and where e^x leaves the range of f32.
double far_from_zero(std::size_t, std::int64_t element) {
  return std::array{-800.0, -20.0, -1e-3, 1e-3, 20.0, 800.0}[static_cast<std::size_t>(element) % 6];
}

}  // namespace

extern const OpDef sigmoid;
const OpDef sigmoid{
    .name = "sigmoid",
    .summary = "logistic function",
    .equation = "output = 1 / (1 + exp(-input))",
    .operands = {{"input"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .post_op = "logistic",
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 17})}},
                 {.name = "number", .inputs = {batched({})}},
                 {.name = "far_from_zero", .inputs = {batched({6})}, .fill = far_from_zero, .batch = 1}},
    .internals = {&sigmoid_gradient},
};

}  // namespace weir::ops
