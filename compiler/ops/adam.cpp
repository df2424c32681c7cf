// Adam with Keras' formula: t counts updates of the whole model from 1, and epsilon stands outside the bias correction.
//   m += (1 - beta_1)·(g - m);  v += (1 - beta_2)·(g² - v)
//   parameter -= learning_rate·√(1 - beta_2^t) / (1 - beta_1^t) · m / (√v + epsilon)
// Profile pytorch adds epsilon to √v / √(1 - beta_2^t), which is epsilon·√(1 - beta_2^t) in the form above.
// Keras rounds the betas to f32 before it takes their powers; here the coefficients are taken in double and rounded
// once.
#include <cmath>

#include "compiler/ops/optimizer.hpp"

namespace weir::ops {
namespace {

void lower(LowerContext& c) {
  KernelBuilder kernel = c.kernel("adam");
  kernel.update("parameter", "parameter")
      .read("gradient", "gradient")
      .update("m", "m")
      .update("v", "v")
      .read("learning_rate", "learning_rate")
      .read("step", "step")
      .set("beta_1", c.attributes().number("beta_1"))
      .set("beta_2", c.attributes().number("beta_2"))
      .set("epsilon", c.attributes().number("epsilon"));
  if (is_pytorch(c.attributes())) kernel.set("corrected", true);
  kernel.emit();
}

void reference(ReferenceContext& c) {
  const double beta_1 = c.attributes().number("beta_1"), beta_2 = c.attributes().number("beta_2"), t = c.scalar("step");
  const double step = c.scalar("learning_rate") * std::sqrt(1 - std::pow(beta_2, t)) / (1 - std::pow(beta_1, t));
  Array &w = c.operand("parameter"), &m = c.operand("m"), &v = c.operand("v");
  const Array& g = c.operand("gradient");
  const double correction = is_pytorch(c.attributes()) ? std::sqrt(1 - std::pow(beta_2, t)) : 1;
  const double epsilon = c.attributes().number("epsilon") * correction;
  for (std::int64_t i = 0; i < w.count(); ++i) {
    m[i] += (1 - beta_1) * (g[i] - m[i]);
    v[i] += (1 - beta_2) * (g[i] * g[i] - v[i]);
    w[i] -= step * m[i] / (std::sqrt(v[i]) + epsilon);
  }
}

AttributeDef beta(std::string_view name, std::string_view doc, double standard) {
  return {.name = name, .doc = doc, .standard = standard, .least = 0, .most = 1, .exclusive_most = true};
}

}  // namespace

extern const OpDef adam;
const OpDef adam{
    .name = "adam",
    .summary = "adaptive moment estimation",
    .equation = "parameter -= learning_rate·√(1 - beta_2^t) / (1 - beta_1^t) · m / (√v + epsilon)",
    .role = Role::optimizer,
    .operands = {{"parameter", OperandKind::parameter},
                 {"gradient"},
                 {"m", OperandKind::state},
                 {"v", OperandKind::state},
                 {"learning_rate", OperandKind::scalar},
                 {"step", OperandKind::scalar}},
    .results = {},
    .attributes = {learning_rate_attribute(0.001),
                   beta("beta_1", "weight of the old first moment", 0.9),
                   beta("beta_2", "weight of the old second moment", 0.999),
                   {.name = "epsilon",
                    .doc = "keeps the quotient finite",
                    .standard = 1e-7,
                    .least = 1e-30,
                    .most = 1e30,
                    .pytorch = 1e-8}},
    .infer = infer_update,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .pytorch =
        "epsilon is added to √v after its bias correction: parameter -= learning_rate / (1 - beta_1^t) · m / "
        "(√v / √(1 - beta_2^t) + epsilon)",
    .slots = {"m", "v"},
    .gradient_bound = largest_gradient,
    .scale_free = true,
};

}  // namespace weir::ops
