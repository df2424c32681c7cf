// Entries below 0 become 0 after the update (Keras). In whatever layout the parameter has: padding is 0 and stays so.
#include <algorithm>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext&) {}
void lower(LowerContext& c) { c.kernel("clip_negative").update("parameter", "parameter").emit(); }
void reference(ReferenceContext& c) {
  for (double& entry : c.operand("parameter").data) entry = std::max(entry, 0.0);
}

}  // namespace

extern const OpDef non_neg;
const OpDef non_neg{
    .name = "non_neg",
    .summary = "keeps entries at or above 0",
    .equation = "parameter = max(parameter, 0)",
    .role = Role::constraint,
    .operands = {{"parameter", OperandKind::parameter}},
    .results = {},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
};

}  // namespace weir::ops
