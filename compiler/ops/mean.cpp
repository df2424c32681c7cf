// The mean of a node, to watch it.
#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  check_prediction(c);
  c.result("value", scalar_type());
}

void lower(LowerContext& c) {
  const Dims dims = entries_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel("loss_entries");
  kernel.read_as("prediction", "prediction", dims, "nc")
      .read("rows", "rows")
      .write("value", "value")
      .set("loss", std::string("value"));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}

void reference(ReferenceContext& c) {
  const LossView view(c);
  double sum = 0;
  for (std::int64_t i = 0; i < view.real_entries(); ++i)
    if (const double weight = view.weight_of(i); weight != 0) sum += weight * view.prediction[i];
  c.result("value")[0] = reduced(sum, denominator(view.attributes, view.sample, 1), view);
}

}  // namespace

extern const OpDef mean;
const OpDef mean{
    .name = "mean",
    .summary = "the mean of the node",
    .equation = "value = mean of prediction",
    .role = Role::metric,
    .operands = {{"prediction"},
                 {"rows", OperandKind::scalar},
                 {"entry_weights", OperandKind::target, true},
                 {"denominator", OperandKind::scalar, true}},
    .results = {"value"},
    .constraints = {"C1: the node is f32"},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .no_target = true,
    .entry_each = true,
    .examples = {{.name = "rows", .inputs = {batched({5})}}, {.name = "image", .inputs = {batched({2, 3, 2})}}},
};

}  // namespace weir::ops
