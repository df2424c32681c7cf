// Gradient descent with Keras' momentum, the learning rate inside the velocity:
//   momentum 0: parameter -= learning_rate·g
//   else:       velocity = momentum·velocity - learning_rate·g, then parameter += velocity, or with nesterov
//               parameter += momentum·velocity - learning_rate·g
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
      .set("nesterov", c.attributes().flag("nesterov"))
      .emit();
}

void reference(ReferenceContext& c) {
  const double momentum = c.attributes().number("momentum"), rate = c.scalar("learning_rate");
  Array& w = c.operand("parameter");
  const Array& g = c.operand("gradient");
  for (std::int64_t i = 0; i < w.count(); ++i) {
    double move = -rate * g[i];
    if (momentum > 0) {
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
    .slots = {"velocity"},
    .uses_slots = uses_slots,
    .gradient_bound = largest_gradient,
};

}  // namespace weir::ops
