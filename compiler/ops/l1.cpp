// Keras' L1.
#include "compiler/ops/regularizer.hpp"

namespace weir::ops {
namespace {

const OpDef l1_gradient = regularizer_gradient("l1.gradient", "gradient = l1 · sign(prediction) · weight");

void gradient(GradientContext& c) { emit_regularizer_gradient(c, l1_gradient); }

}  // namespace

extern const OpDef l1;
const OpDef l1{
    .name = "l1",
    .summary = "sum of the absolute values",
    .equation = "value = l1 · Σ |prediction|",
    .role = Role::regularizer,
    .operands = {{"prediction"}, {"rows", OperandKind::scalar}},
    .results = {"value"},
    .attributes = {strength_attribute("l1", "factor of the absolute values", 0.01)},
    .constraints = {"C1: the node is f32"},
    .infer = infer_regularizer,
    .gradient = gradient,
    .lower = lower_regularizer,
    .reference = regularizer_reference,
    .no_target = true,
    .examples = regularizer_examples(),
    .internals = {&l1_gradient},
};

}  // namespace weir::ops
