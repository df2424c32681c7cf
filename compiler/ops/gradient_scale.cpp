// The layer itself changes nothing; the gradient that comes back through it is multiplied. A negative scale turns it
// around (Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", 2015). The scale is a fixed number,
// or a scalar that follows a schedule. At 0 the gradient is zero, whatever it was.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

void lower(LowerContext& c) { c.alias("output", "input"); }
void reference(ReferenceContext& c) { c.result().data = c.operand("input").data; }

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("d_output")); }

void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("d_output").shape.layout;
  KernelBuilder kernel = c.kernel("scale");
  kernel.read("src", "d_output", layout);
  if (c.has("scale"))
    kernel.read("scale", "scale");
  else
    kernel.set("scale", c.attributes().number("scale"));
  kernel.write("dst", "gradient", layout).emit();
}

void gradient_reference(ReferenceContext& c) {
  const double scale = c.has("scale") ? c.scalar("scale") : c.attributes().number("scale");
  const Array& d = c.operand("d_output");
  for (std::int64_t i = 0; i < d.count(); ++i) c.result("gradient")[i] = scale == 0 ? 0 : d[i] * scale;
}

const OpDef gradient_scale_gradient{
    .name = "gradient_scale.gradient",
    .summary = "the gradient times the scale",
    .equation = "d_input = d_output · scale",
    .role = Role::internal,
    .operands = {{"d_output"}, {"scale", OperandKind::scalar, true}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  c.set("input", c.emit(gradient_scale_gradient, {c.gradient(), c.operand("scale")})[0]);
}

}  // namespace

extern const OpDef gradient_scale;
const OpDef gradient_scale{
    .name = "gradient_scale",
    .summary = "passes values on as they are, and gradients back times a factor",
    .equation = "output = input; d_input = d_output · scale",
    .operands = {{"input"}, {"scale", OperandKind::scalar, true}},
    .attributes = {{.name = "scale", .doc = "negative: the gradient is reversed", .scheduled = true}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .gradient_factor = "scale",
    .examples = {{.name = "unchanged", .inputs = {batched({5})}, .attributes = {{"scale", 1.0}}},
                 {.name = "image", .inputs = {batched({3, 5, 16})}, .attributes = {{"scale", 1.0}}},
                 {.name = "number", .inputs = {batched({})}, .attributes = {{"scale", 1.0}}, .batch = 1}},
    .internals = {&gradient_scale_gradient},
};

}  // namespace weir::ops
