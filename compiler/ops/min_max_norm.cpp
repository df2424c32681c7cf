// Norms move towards the range from min_value to max_value, by `rate` of the way.
#include "compiler/ops/norm_constraint.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  if (c.attributes().number("min_value") > c.attributes().number("max_value"))
    c.fail(3, "min_value is above max_value");
  infer_norm_constraint(c);
}

NormRange range_of(const Attributes& attributes) {
  return {attributes.number("min_value"), attributes.number("max_value"), attributes.number("rate")};
}

void lower(LowerContext& c) { lower_norm_constraint(c, range_of(c.attributes())); }
void reference(ReferenceContext& c) { norm_constraint_reference(c, range_of(c.attributes())); }

}  // namespace

extern const OpDef min_max_norm;
const OpDef min_max_norm{
    .name = "min_max_norm",
    .summary = "keeps norms in a range",
    .equation = "parameter = parameter · (rate · clip(norm, min_value, max_value) + (1 - rate) · norm) / (1e-7 + norm)",
    .role = Role::constraint,
    .operands = {{"parameter", OperandKind::parameter}},
    .results = {},
    .attributes = {{.name = "min_value", .doc = "the smallest norm", .standard = 0.0, .least = 0},
                   {.name = "max_value", .doc = "the largest norm", .standard = 1.0, .least = 0},
                   {.name = "rate", .doc = "1: all the way at once", .standard = 1.0, .least = 0, .most = 1},
                   norm_axes_attribute()},
    .constraints = {"C1: the parameter has the axes", "C2: each axis stands once",
                    "C3: min_value is at most max_value"},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .by_axes = true,
};

}  // namespace weir::ops
