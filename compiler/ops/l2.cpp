// Keras' L2: without the half that others give it.
#include "compiler/ops/regularizer.hpp"

namespace weir::ops {
namespace {

const OpDef l2_gradient = regularizer_gradient("l2.gradient", "gradient = 2 · l2 · prediction · weight");

void gradient(GradientContext& c) { emit_regularizer_gradient(c, l2_gradient); }

}  // namespace

extern const OpDef l2;
const OpDef l2{
    .name = "l2",
    .summary = "sum of the squares",
    .equation = "value = l2 · Σ prediction²",
    .role = Role::regularizer,
    .operands = {{"prediction"}, {"rows", OperandKind::scalar}},
    .results = {"value"},
    .attributes = {strength_attribute("l2", "factor of the squares", 0.01)},
    .constraints = {"C1: the node is f32"},
    .infer = infer_regularizer,
    .gradient = gradient,
    .lower = lower_regularizer,
    .reference = regularizer_reference,
    .no_target = true,
    .examples = regularizer_examples(),
    .internals = {&l2_gradient},
};

}  // namespace weir::ops
