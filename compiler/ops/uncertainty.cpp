// A term's learned weight (Kendall, Gal, Cipolla, "Multi-task learning using uncertainty to weigh losses", 2018): with
// s = log_variance, a parameter of the term's own, and its weight w,
//
//   w · (factor · exp(-s) · loss + s/2),   factor 1/2 for a regression, 1 for a classification
//
// is what the term adds to the total. exp takes s held in [-20, 20]; the gradient does not see that bound, so that an s
// beyond it finds its way back. The term's own gradient takes loss_weight as its weight, so the loss is held here: what
// this node's gradient gives is that of s alone.
#include <algorithm>
#include <cmath>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

constexpr double most = 20;  ///< |log_variance| in exp

void infer(InferContext& c) {
  for (const char* result : {"value", "half", "loss_weight"}) c.result(result, scalar_type());
}
void lower(LowerContext& c) {
  c.kernel("uncertainty")
      .read_as("log_variance", "log_variance", {1}, "o")
      .read("loss", "loss")
      .read("weight", "weight")
      .write("value", "value")
      .write("half", "half")
      .write("loss_weight", "loss_weight")
      .set("factor", c.attributes().number("factor"))
      .set("most", most)
      .emit();
}

/// 0 · inf is 0 here: a term whose weight is 0 in this step may be anything.
double product(double weight, double loss) { return weight == 0 ? 0 : weight * loss; }

void reference(ReferenceContext& c) {
  const double s = c.operand("log_variance")[0];
  const double weight = c.attributes().number("factor") * std::exp(-std::clamp(s, -most, most));
  c.result("half")[0] = s / 2;
  c.result("loss_weight")[0] = c.scalar("weight") * weight;
  c.result("value")[0] = product(c.scalar("weight") == 0 ? 0 : weight, c.scalar("loss")) + s / 2;
}

void infer_gradient(InferContext& c) { c.result("gradient", c.operand("log_variance")); }
void lower_gradient(LowerContext& c) {
  c.kernel("uncertainty_gradient")
      .read("loss", "loss")
      .read("loss_weight", "loss_weight")
      .read("weight", "weight")
      .write_as("gradient", "gradient", {1}, "o")
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  c.result("gradient")[0] = c.scalar("weight") / 2 - product(c.scalar("loss_weight"), c.scalar("loss"));
}

const OpDef uncertainty_gradient{
    .name = "uncertainty.gradient",
    .summary = "gradient by the logarithm of the variance",
    .equation = "gradient = weight / 2 - loss_weight · loss",
    .role = Role::internal,
    .operands = {{"log_variance"},
                 {"loss", OperandKind::target},
                 {"loss_weight", OperandKind::scalar},
                 {"weight", OperandKind::scalar}},
    .results = {"gradient"},
    .infer = infer_gradient,
    .no_gradient = true,
    .lower = lower_gradient,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (!c.wants("log_variance")) return;
  c.set("log_variance", c.emit(uncertainty_gradient, {c.operand("log_variance"), c.operand("loss"),
                                                      c.result("loss_weight"), c.gradient("value")})[0]);
}

}  // namespace

extern const OpDef uncertainty;
const OpDef uncertainty{
    .name = "uncertainty",
    .summary = "the learned weight of a loss term and what keeps it from falling to 0",
    .equation = "value = factor · exp(-log_variance) · loss + log_variance / 2",
    .role = Role::internal,
    .operands = {{"log_variance"}, {"loss", OperandKind::target}, {"weight", OperandKind::scalar}},
    .results = {"value", "half", "loss_weight"},
    .attributes = {{.name = "factor", .doc = "1/2 for a regression, 1 for a classification"}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .internals = {&uncertainty_gradient},
};

}  // namespace weir::ops
