// y = e^x. The gradient reads y, so x may be overwritten.
#include <cmath>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

/// Where padding would not stay 0, the canonical layout.
void lower(LowerContext& c) {
  const std::string dense = c.operand("input").shape.axes;
  c.kernel("pointwise")
      .read("a", "input", dense)
      .write("out", "output", dense)
      .set("expression", std::string("exp(a)"))
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[i] = std::exp(x[i]);
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("output")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("output").shape.layout;
  c.kernel("pointwise")
      .read("a", "d_output", layout)
      .read("b", "output", layout)
      .write("out", "gradient", layout)
      .set("expression", std::string("a * b"))
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &y = c.operand("output"), &d = c.operand("d_output");
  for (std::int64_t i = 0; i < y.count(); ++i) c.result("gradient")[i] = d[i] * y[i];
}
const OpDef exponential_gradient{
    .name = "exponential.gradient",
    .summary = "gradient of exponential",
    .equation = "d_input = d_output · output",
    .role = Role::internal,
    .operands = {{"d_output"}, {"output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  c.set("input", c.emit(exponential_gradient, {c.gradient(), c.result("output")})[0]);
}

}  // namespace

extern const OpDef exponential;
const OpDef exponential{
    .name = "exponential",
    .summary = "exponential function",
    .equation = "output = e^input",
    .operands = {{"input"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 17})}},
                 {.name = "number", .inputs = {batched({})}}},
    .internals = {&exponential_gradient},
};

}  // namespace weir::ops
