// Norms above max_value are brought down to it (N. Srivastava et al., "Dropout", JMLR 2014).
#include "compiler/ops/norm_constraint.hpp"

namespace weir::ops {
namespace {

NormRange range_of(const Attributes& attributes) { return {0, attributes.number("max_value"), 1}; }

void lower(LowerContext& c) { lower_norm_constraint(c, range_of(c.attributes())); }
void reference(ReferenceContext& c) { norm_constraint_reference(c, range_of(c.attributes())); }

}  // namespace

extern const OpDef max_norm;
const OpDef max_norm{
    .name = "max_norm",
    .summary = "keeps norms at or below a bound",
    .equation = "parameter = parameter · min(norm, max_value) / (1e-7 + norm)",
    .role = Role::constraint,
    .operands = {{"parameter", OperandKind::parameter}},
    .results = {},
    .attributes = {{.name = "max_value", .doc = "the largest norm", .standard = 2.0, .least = 0},
                   norm_axes_attribute()},
    .constraints = {"C1: the parameter has the axes", "C2: each axis stands once"},
    .infer = infer_norm_constraint,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .by_axes = true,
};

}  // namespace weir::ops
