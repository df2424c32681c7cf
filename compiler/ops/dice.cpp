// 1 - 2·I / (T + P + 1e-7) (L. R. Dice, 1945; as a loss F. Milletari et al., "V-Net", 2016), as tversky with both
// factors a half and half the epsilon.
#include "compiler/ops/overlap.hpp"

namespace weir::ops {
namespace {

OverlapFactors factors(const Attributes&) { return {0.5, 0.5, 0.5e-7}; }

void lower(LowerContext& c) { lower_overlap(c, factors(c.attributes())); }
void reference(ReferenceContext& c) { overlap_reference(c, factors(c.attributes())); }
void gradient_reference(ReferenceContext& c) { overlap_gradient_reference(c, factors(c.attributes())); }

const OpDef dice_gradient = loss_gradient(
    "dice.gradient", "gradient = -2 · (target · S - overlap) / S² · weight, S = Σ target + Σ prediction + 1e-7",
    infer_loss_gradient, lower, gradient_reference);

void gradient(GradientContext& c) { emit_overlap_gradient(c, dice_gradient); }

}  // namespace

extern const OpDef dice;
const OpDef dice{
    .name = "dice",
    .summary = "one minus twice the overlap over the sum of both",
    .equation = "value = 1 - 2 · Σ target · prediction / (Σ target + Σ prediction + 1e-7), over the whole batch",
    .role = Role::loss,
    .operands = overlap_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), overlap_axes_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape",
                    "C3: reduction is mean or sum, which are the same here"},
    .infer = infer_overlap,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .classification = true,
    .examples = overlap_examples(),
    .internals = {&dice_gradient},
};

}  // namespace weir::ops
