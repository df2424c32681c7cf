// Norms become 1.
#include "compiler/ops/norm_constraint.hpp"

namespace weir::ops {
namespace {

NormRange range_of(const Attributes&) { return {1, 1, 1}; }

void lower(LowerContext& c) { lower_norm_constraint(c, range_of(c.attributes())); }
void reference(ReferenceContext& c) { norm_constraint_reference(c, range_of(c.attributes())); }

}  // namespace

extern const OpDef unit_norm;
const OpDef unit_norm{
    .name = "unit_norm",
    .summary = "makes norms 1",
    .equation = "parameter = parameter / (1e-7 + norm)",
    .role = Role::constraint,
    .operands = {{"parameter", OperandKind::parameter}},
    .results = {},
    .attributes = {norm_axes_attribute()},
    .constraints = {"C1: the parameter has the axes", "C2: each axis stands once"},
    .infer = infer_norm_constraint,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .by_axes = true,
};

}  // namespace weir::ops
