// S. Salehi et al., "Tversky loss function for image segmentation", 2017, with the factors as Keras codes them.
#include "compiler/ops/overlap.hpp"

namespace weir::ops {
namespace {

OverlapFactors factors(const Attributes& attributes) {
  return {attributes.number("alpha"), attributes.number("beta"), 1e-7};
}

void lower(LowerContext& c) { lower_overlap(c, factors(c.attributes())); }
void reference(ReferenceContext& c) { overlap_reference(c, factors(c.attributes())); }
void gradient_reference(ReferenceContext& c) { overlap_gradient_reference(c, factors(c.attributes())); }

const OpDef tversky_gradient =
    loss_gradient("tversky.gradient",
                  "gradient = (O · ((1 - alpha - beta) · target + beta) - target · D) / D² · weight, D the divisor",
                  infer_loss_gradient, lower, gradient_reference);

void gradient(GradientContext& c) { emit_overlap_gradient(c, tversky_gradient); }

}  // namespace

extern const OpDef tversky;
const OpDef tversky{
    .name = "tversky",
    .summary = "one minus the overlap over itself and the weighed misses",
    .equation =
        "value = 1 - O / (O + alpha · Σ (1 - prediction) · target + beta · Σ prediction · (1 - target) + 1e-7), O = Σ "
        "target · prediction, over the whole batch",
    .role = Role::loss,
    .operands = overlap_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   {.name = "alpha", .doc = "factor of what the prediction misses", .standard = 0.5, .least = 0},
                   {.name = "beta", .doc = "factor of what it predicts beside the target", .standard = 0.5, .least = 0},
                   overlap_axes_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape",
                    "C3: reduction is mean or sum, which are the same here"},
    .infer = infer_overlap,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .classification = true,
    .examples = overlap_examples(),
    .internals = {&tversky_gradient},
};

}  // namespace weir::ops
