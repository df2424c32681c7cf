// output = input · scale + offset, with two fixed numbers.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

void lower(LowerContext& c) {
  const std::string layout = c.operand("input").shape.layout;
  const std::string scale = shortest(c.attributes().number("scale")),
                    offset = shortest(c.attributes().number("offset"));
  c.kernel("pointwise")
      .read("a", "input", layout)
      .write("out", "output", layout)
      .set("expression", "a * " + scale + " + " + offset)
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const double scale = c.attributes().number("scale"), offset = c.attributes().number("offset");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[i] = x[i] * scale + offset;
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("d_output")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("d_output").shape.layout;
  c.kernel("pointwise")
      .read("a", "d_output", layout)
      .write("out", "gradient", layout)
      .set("expression", "a * " + shortest(c.attributes().number("scale")))
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  for (std::int64_t i = 0; i < d.count(); ++i) c.result("gradient")[i] = d[i] * c.attributes().number("scale");
}
const OpDef rescaling_gradient{
    .name = "rescaling.gradient",
    .summary = "gradient of rescaling",
    .equation = "d_input = d_output · scale",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(rescaling_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef rescaling;
const OpDef rescaling{
    .name = "rescaling",
    .summary = "multiplies by a number and adds one",
    .equation = "output = input · scale + offset",
    .operands = {{"input"}},
    .attributes = {{.name = "scale", .doc = "factor"},
                   {.name = "offset", .doc = "added after the factor", .standard = 0.0}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples =
        {{.name = "pixels", .inputs = {batched({5, 3, 1})}, .attributes = {{"scale", 1.0 / 255}}},
         {.name = "negative", .inputs = {batched({3, 2, 17})}, .attributes = {{"scale", -0.5}, {"offset", -1.25}}},
         {.name = "whole_numbers", .inputs = {batched({4})}, .attributes = {{"scale", 2}, {"offset", 3}}},
         {.name = "small_scale", .inputs = {batched({})}, .attributes = {{"scale", 1e-7}, {"offset", 2e6}}},
         {.name = "zero", .inputs = {batched({2})}, .attributes = {{"scale", 0.0}, {"offset", 1.0}}, .batch = 1}},
    .internals = {&rescaling_gradient},
};

}  // namespace weir::ops
