// Moves a statistic (batch_normalization's moving mean and variance) towards the value of this batch.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext&) {}

void lower(LowerContext& c) {
  c.kernel("moving_average")
      .update("statistic", "statistic")
      .read("batch_value", "batch_value")
      .set("momentum", c.attributes().number("momentum"))
      .emit();
}

void reference(ReferenceContext& c) {
  const double momentum = c.attributes().number("momentum");
  Array& statistic = c.operand("statistic");
  for (std::int64_t i = 0; i < statistic.count(); ++i)
    statistic[i] = statistic[i] * momentum + c.operand("batch_value")[i] * (1 - momentum);
}

}  // namespace

extern const OpDef moving_average;
const OpDef moving_average{
    .name = "moving_average",
    .summary = "update of a statistic",
    .equation = "statistic = statistic·momentum + batch_value·(1 - momentum)",
    .role = Role::internal,
    .operands = {{"statistic", OperandKind::statistic}, {"batch_value"}},
    .results = {},
    .attributes = {{.name = "momentum", .doc = "weight of the old value", .least = 0, .most = 1}},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
};

}  // namespace weir::ops
