// One row of features a sample, in canonical order (height, width, channels). No data moves.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  type.dims = {element_count(type.dims)};
  c.result("output", type);
}

void lower(LowerContext& c) { c.alias("output", "input"); }

void reference(ReferenceContext& c) { c.result().data = c.operand("input").data; }

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) { c.alias("gradient", "d_output"); }
void gradient_reference(ReferenceContext& c) { c.result("gradient").data = c.operand("d_output").data; }
const OpDef flatten_gradient{
    .name = "flatten.gradient",
    .summary = "gradient of flatten",
    .equation = "d_input = d_output in the shape of the input",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(flatten_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef flatten;
const OpDef flatten{
    .name = "flatten",
    .summary = "one row of features a sample",
    .equation = "output[h · width · channels + w · channels + c] = input[h, w, c]",
    .operands = {{"input"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .carries_integers = true,
    .examples = {{.name = "image", .inputs = {batched({3, 2, 5})}},
                 {.name = "image_of_16_channels", .inputs = {batched({3, 3, 16})}, .batch = 1},
                 {.name = "already_flat", .inputs = {batched({4})}},
                 {.name = "number", .inputs = {batched({})}},
                 {.name = "one", .inputs = {batched({1, 1, 1})}, .batch = 1}},
    .internals = {&flatten_gradient},
};

}  // namespace weir::ops
