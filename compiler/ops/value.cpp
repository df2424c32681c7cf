// The node itself as a loss: a penalty without a target. Its unreduced loss is the node, so `sum` adds every entry.
#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  check_prediction(c);
  c.result("value", scalar_type());
}

void lower_kernel(LowerContext& c, bool gradient) {
  const Dims dims = entries_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel(gradient ? "loss_entries_gradient" : "loss_entries");
  kernel.read_as("prediction", "prediction", dims, "nc").read("rows", "rows");
  if (gradient)
    kernel.read("weight", "weight").write_as("gradient", "gradient", dims, "nc");
  else
    kernel.write("value", "value");
  kernel.set("loss", std::string("value"));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}
void lower(LowerContext& c) { lower_kernel(c, false); }
void gradient_lower(LowerContext& c) { lower_kernel(c, true); }

void reference(ReferenceContext& c) {
  const LossView view(c);
  double sum = 0;
  for (std::int64_t i = 0; i < view.real_entries(); ++i)
    if (const double weight = view.weight_of(i); weight != 0) sum += weight * view.prediction[i];
  c.result("value")[0] = reduced(sum, denominator(view.attributes, view.sample, 1), view);
}
void gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double factor = gradient_factor(c, denominator(view.attributes, view.sample, 1), view);
  Array& gradient = c.result("gradient");
  for (std::int64_t i = 0; i < gradient.count(); ++i)
    gradient[i] = i < view.real_entries() ? factor * view.weight_of(i) : 0;
}

const OpDef value_gradient{
    .name = "value.gradient",
    .summary = "gradient of the mean of a node",
    .equation = "gradient = weight / D",
    .role = Role::internal,
    .operands = {{"prediction"},
                 {"weight", OperandKind::scalar},
                 {"rows", OperandKind::scalar},
                 {"entry_weights", OperandKind::target, true},
                 {"denominator", OperandKind::scalar, true}},
    .results = {"gradient"},
    .infer = infer_loss_gradient,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (!c.wants("prediction")) return;
  std::vector<ValueId> operands{c.operand("prediction"), c.gradient("value"), c.operand("rows")};
  pass_weights(c, operands);
  c.set("prediction", c.emit(value_gradient, std::move(operands))[0]);
}

}  // namespace

extern const OpDef value;
const OpDef value{
    .name = "value",
    .summary = "the mean of the node itself",
    .equation = "value = mean of prediction",
    .role = Role::loss,
    .operands = {{"prediction"},
                 {"rows", OperandKind::scalar},
                 {"entry_weights", OperandKind::target, true},
                 {"denominator", OperandKind::scalar, true}},
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .no_target = true,
    .entry_each = true,
    .examples = {{.name = "rows", .inputs = {batched({5})}},
                 {.name = "image", .inputs = {batched({3, 2, 4})}},
                 {.name = "sum", .inputs = {batched({2, 3})}, .attributes = {{"reduction", std::string("sum")}}},
                 {.name = "batch_mean",
                  .inputs = {batched({2, 3})},
                  .attributes = {{"reduction", std::string("batch_mean")}}}},
    .internals = {&value_gradient},
};

}  // namespace weir::ops
