// Moves a statistic (batch_normalization's moving mean and variance) towards the value of this batch.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext&) {}

/// n / (n - 1) makes a biased variance unbiased; of a single value there is none, and it stays 0.
double correction(const Attributes& attributes, std::int64_t batch) {
  if (!attributes.has("unbiased_over")) return 1;
  const auto n = static_cast<double>(batch * attributes.integer("unbiased_over"));
  return n > 1 ? n / (n - 1) : 1;
}

void lower(LowerContext& c) {
  KernelBuilder kernel = c.kernel("moving_average");
  kernel.update("statistic", "statistic").read("batch_value", "batch_value");
  kernel.set("momentum", c.attributes().number("momentum"));
  if (c.attributes().has("unbiased_over")) kernel.set("correction", correction(c.attributes(), c.batch()));
  kernel.emit();
}

void reference(ReferenceContext& c) {
  const double momentum = c.attributes().number("momentum");
  Array& statistic = c.operand("statistic");
  for (std::int64_t i = 0; i < statistic.count(); ++i)
    statistic[i] =
        statistic[i] * momentum + c.operand("batch_value")[i] * correction(c.attributes(), c.batch()) * (1 - momentum);
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
    .attributes = {{.name = "momentum", .doc = "weight of the old value", .least = 0, .most = 1},
                   {.name = "unbiased_over",
                    .type = AttributeType::integer,
                    .doc = "values a sample of a biased variance that is made unbiased",
                    .optional = true,
                    .least = 1}},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
};

}  // namespace weir::ops
