// y = min(max(x, 0), 6). The gradient at 0 and at 6 is 0 (Keras, PyTorch), so it can be read off y and x may be
// overwritten.
#include <algorithm>
#include <array>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  c.kernel("eltwise_forward")
      .read("src", "input", layout)
      .write("dst", "output", layout)
      .set("algorithm", "relu6")
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[i] = std::clamp(x[i], 0.0, 6.0);
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("output")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("output").shape.layout;
  c.kernel("pointwise")
      .read("a", "d_output", layout)
      .read("b", "output", layout)
      .write("out", "gradient", layout)
      .set("expression", "where(b * (6 - b), a, 0)")
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &y = c.operand("output"), &d = c.operand("d_output");
  Array& result = c.result("gradient");
  for (std::int64_t i = 0; i < y.count(); ++i) result[i] = y[i] > 0 && y[i] < 6 ? d[i] : 0;
}
const OpDef relu6_gradient{
    .name = "relu6.gradient",
    .summary = "gradient of relu6",
    .equation = "d_input = d_output where 0 < output < 6, else 0",
    .role = Role::internal,
    .operands = {{"d_output"}, {"output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
    .masks = true,
};

void gradient(GradientContext& c) { c.set("input", c.emit(relu6_gradient, {c.gradient(), c.result("output")})[0]); }

/// On both sides of both kinks.
double around_the_kinks(std::size_t, std::int64_t element) {
  return std::array{-3.0, -0.5, 0.5, 5.5, 6.5, 30.0}[static_cast<std::size_t>(element) % 6];
}

}  // namespace

extern const OpDef relu6;
const OpDef relu6{
    .name = "relu6",
    .summary = "rectified linear unit, at most 6",
    .equation = "output = min(max(input, 0), 6)",
    .operands = {{"input"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .post_op = "relu6",
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 16})}, .fill = around_the_kinks},
                 {.name = "kinks", .inputs = {batched({6})}, .fill = around_the_kinks, .batch = 1}},
    .internals = {&relu6_gradient},
};

}  // namespace weir::ops
