// In training each value is dropped with probability rate, and what is kept is scaled by 1 / (1 - rate), so that the
// mean stays (Keras). In evaluation the output is the input. Whether element e of the canonical order is kept depends
// on (seed, the layer's name, step, e) alone: no mask is stored, the gradient draws it again, and no other layer
// changes it.
#include "compiler/ir/op.hpp"
#include "runtime/random.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { c.result("output", c.operand("input")); }

/// The kernel drops and scales; it is its own gradient.
void lower_mask(LowerContext& c, std::string_view from, std::string_view to) {
  const std::string dense = c.operand(from).shape.axes;
  c.kernel("dropout")
      .read("src", from, dense)
      .read("seed", "seed")
      .read("step", "step")
      .write("dst", to, dense)
      .set("rate", c.attributes().number("rate"))
      .set("name_hash", static_cast<std::int64_t>(name_hash(c.node().name)))
      .emit();
}

void mask(ReferenceContext& c, const Array& from, Array& to) {
  const double rate = c.attributes().number("rate");
  const std::uint64_t key = random_key(static_cast<std::uint64_t>(c.scalar("seed")), c.node().name);
  const auto step = static_cast<std::uint64_t>(c.scalar("step"));
  for (std::int64_t i = 0; i < from.count(); ++i) {
    const bool kept = rate < 1 && uniform(key, step, static_cast<std::uint64_t>(i)) >= rate;
    to[i] = kept ? from[i] / (1 - rate) : 0;
  }
}

void lower(LowerContext& c) {
  if (c.training())
    lower_mask(c, "input", "output");
  else
    c.alias("output", "input");
}

void reference(ReferenceContext& c) {
  if (c.training())
    mask(c, c.operand("input"), c.result());
  else
    c.result().data = c.operand("input").data;
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("d_output")); }
void gradient_lower(LowerContext& c) { lower_mask(c, "d_output", "gradient"); }
void gradient_reference(ReferenceContext& c) { mask(c, c.operand("d_output"), c.result("gradient")); }
const OpDef dropout_gradient{
    .name = "dropout.gradient",
    .summary = "gradient of dropout",
    .equation = "d_input = d_output / (1 - rate) where the input was kept, else 0",
    .role = Role::internal,
    .operands = {{"d_output"}, {"seed", OperandKind::scalar}, {"step", OperandKind::scalar}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (c.training())
    c.set("input", c.emit(dropout_gradient, {c.gradient(), c.operand("seed"), c.operand("step")})[0]);
  else
    c.set("input", c.gradient());
}

}  // namespace

extern const OpDef dropout;
const OpDef dropout{
    .name = "dropout",
    .summary = "drops values at random while training",
    .equation = "output = input / (1 - rate) where uniform(seed, layer, step, element) ≥ rate, else 0",
    .operands = {{"input"}, {"seed", OperandKind::scalar}, {"step", OperandKind::scalar}},
    .attributes = {{.name = "rate", .doc = "probability of dropping a value", .least = 0, .most = 1}},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .identity_in_evaluation = true,
    .examples = {{.name = "half", .inputs = {batched({37})}, .attributes = {{"rate", 0.5}}},
                 {.name = "image", .inputs = {batched({3, 5, 16})}, .attributes = {{"rate", 0.3}}},
                 {.name = "keep_all", .inputs = {batched({5})}, .attributes = {{"rate", 0.0}}},
                 {.name = "drop_all", .inputs = {batched({5})}, .attributes = {{"rate", 1.0}}},
                 {.name = "number", .inputs = {batched({})}, .attributes = {{"rate", 0.25}}, .batch = 1},
                 {.name = "evaluation", .inputs = {batched({2, 3})}, .attributes = {{"rate", 0.5}}, .training = false}},
    .internals = {&dropout_gradient},
};

}  // namespace weir::ops
