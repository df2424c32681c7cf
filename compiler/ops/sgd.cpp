// Gradient descent with Keras' momentum, the learning rate inside the velocity:
//   momentum 0: parameter -= learning_rate·g
//   else:       velocity = momentum·velocity - learning_rate·g, then parameter += velocity, or with nesterov
//               parameter += momentum·velocity - learning_rate·g
// Profile pytorch keeps the learning rate outside, which is the same as long as the rate is:
//   velocity = momentum·velocity + g, then parameter -= learning_rate·velocity, or with nesterov
//   parameter -= learning_rate·(momentum·velocity + g)
#include "compiler/ops/optimizer.hpp"

namespace weir::ops {
namespace {

/// Without momentum there is no velocity.
bool uses_slots(const Attributes& attributes) { return attributes.number("momentum") > 0; }

void lower(LowerContext& c) {
  KernelBuilder kernel = c.kernel("sgd");
  kernel.update("parameter", "parameter").read("gradient", "gradient");
  if (c.has("velocity")) kernel.update("velocity", "velocity");
  kernel.read("learning_rate", "learning_rate")
      .set("momentum", c.attributes().number("momentum"))
      .set("nesterov", c.attributes().flag("nesterov"));
  if (c.has("velocity") && is_pytorch(c.attributes())) kernel.set("rate_outside", true);
  kernel.emit();
}

void reference(ReferenceContext& c) {
  const double momentum = c.attributes().number("momentum"), rate = c.scalar("learning_rate");
  Array& w = c.operand("parameter");
  const Array& g = c.operand("gradient");
  for (std::int64_t i = 0; i < w.count(); ++i) {
    double move = -rate * g[i];
    if (momentum > 0 && is_pytorch(c.attributes())) {
      double& velocity = c.operand("velocity")[i];
      velocity = momentum * velocity + g[i];
      move = -rate * (c.attributes().flag("nesterov") ? momentum * velocity + g[i] : velocity);
    } else if (momentum > 0) {
      double& velocity = c.operand("velocity")[i];
      velocity = momentum * velocity - rate * g[i];
      move = c.attributes().flag("nesterov") ? momentum * velocity - rate * g[i] : velocity;
    }
    w[i] += move;
  }
}

}  // namespace

extern const OpDef sgd;
const OpDef sgd{
    .name = "sgd",
    .summary = "stochastic gradient descent",
    .equation = "velocity = momentum·velocity - learning_rate·g; parameter += velocity",
    .role = Role::optimizer,
    .operands = {{"parameter", OperandKind::parameter},
                 {"gradient"},
                 {"velocity", OperandKind::state, true},
                 {"learning_rate", OperandKind::scalar},
                 {"step", OperandKind::scalar}},
    .results = {},
    .attributes =
        {learning_rate_attribute(0.01),
         {.name = "momentum", .doc = "weight of the old velocity", .standard = 0.0, .least = 0, .most = 1},
         {.name = "nesterov", .type = AttributeType::flag, .doc = "look ahead along the velocity", .standard = false}},
    .infer = infer_update,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .pytorch =
        "the learning rate stays outside the velocity, which differs where the rate changes: "
        "velocity = momentum·velocity + g; parameter -= learning_rate·velocity",
    .slots = {"velocity"},
    .uses_slots = uses_slots,
    .gradient_bound = largest_gradient,
};

}  // namespace weir::ops
