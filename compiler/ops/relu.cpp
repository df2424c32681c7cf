// y = max(x, 0). The gradient at 0 is 0 (Keras, PyTorch), so it can be read off y and x may be overwritten.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("output")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("output").shape.layout;
  c.kernel("relu_gradient")
      .read("output", "output", layout)
      .read("d_output", "d_output", layout)
      .write("d_input", "gradient", layout)
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &y = c.operand("output"), &d = c.operand("d_output");
  Array& result = c.result("gradient");
  for (std::int64_t i = 0; i < y.count(); ++i) result[i] = y[i] > 0 ? d[i] : 0;
}
const OpDef relu_gradient{
    .name = "relu.gradient",
    .summary = "gradient of relu",
    .equation = "d_input = d_output where output > 0, else 0",
    .role = Role::internal,
    .operands = {{"d_output"}, {"output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
    .masks = true,
};

void gradient(GradientContext& c) { c.set("input", c.emit(relu_gradient, {c.gradient(), c.result("output")})[0]); }

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  c.kernel("eltwise_forward")
      .read("src", "input", layout)
      .write("dst", "output", layout)
      .set("algorithm", "relu")
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[i] = x[i] > 0 ? x[i] : 0;
}

}  // namespace

extern const OpDef relu;
const OpDef relu{
    .name = "relu",
    .summary = "rectified linear unit",
    .equation = "output = input where input > 0, else 0",
    .operands = {{"input"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .post_op = "relu",
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 16})}},
                 {.name = "one", .inputs = {batched({1})}, .batch = 1},
                 {.name = "at_the_kink",
                  .inputs = {batched({4})},
                  .fill = [](std::size_t, std::int64_t i) { return i % 2 ? 1.0 + static_cast<double>(i) : -2.0; }}},
    .internals = {&relu_gradient},
};

}  // namespace weir::ops
