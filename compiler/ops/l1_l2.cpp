// Keras' L1L2, whose factors are 0 where they are not given, unlike those of L1 and L2.
#include "compiler/ops/regularizer.hpp"

namespace weir::ops {
namespace {

const OpDef l1_l2_gradient =
    regularizer_gradient("l1_l2.gradient", "gradient = (l1 · sign(prediction) + 2 · l2 · prediction) · weight");

void gradient(GradientContext& c) { emit_regularizer_gradient(c, l1_l2_gradient); }

/// The defaults would make every example 0.
std::vector<Example> both_factors(std::vector<Example> examples) {
  for (Example& example : examples) {
    example.attributes.set("l1", 0.02);
    example.attributes.set("l2", 0.3);
  }
  return examples;
}

}  // namespace

extern const OpDef l1_l2;
const OpDef l1_l2{
    .name = "l1_l2",
    .summary = "sum of the absolute values and of the squares",
    .equation = "value = l1 · Σ |prediction| + l2 · Σ prediction²",
    .role = Role::regularizer,
    .operands = {{"prediction"}, {"rows", OperandKind::scalar}},
    .results = {"value"},
    .attributes = {strength_attribute("l1", "factor of the absolute values", 0.0),
                   strength_attribute("l2", "factor of the squares", 0.0)},
    .constraints = {"C1: the node is f32"},
    .infer = infer_regularizer,
    .gradient = gradient,
    .lower = lower_regularizer,
    .reference = regularizer_reference,
    .no_target = true,
    .examples = both_factors(regularizer_examples()),
    .internals = {&l1_l2_gradient},
};

}  // namespace weir::ops
