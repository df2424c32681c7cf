// A normal sample that gradients pass through (D. Kingma, M. Welling, "Auto-encoding variational Bayes", 2014):
//   output = mean + noise, noise = e^(log_variance / 2) · eps, eps standard normal
// Element e of the canonical order has its own eps, which depends on (seed, the layer's name, step, e) alone: Philox
// bits through the Box-Muller transform (G. Box, M. Muller, 1958; runtime/random). The noise is kept for the gradient,
//   d_mean = d_output, d_log_variance = d_output · noise / 2
// In evaluation the output is the mean.
#include <cmath>

#include "compiler/ir/op.hpp"
#include "runtime/random.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const TensorType &mean = c.operand("mean"), &log_variance = c.operand("log_variance");
  if (mean != log_variance)
    c.fail(1, "the mean is " + to_string(mean) + ", but the log_variance is " + to_string(log_variance));
  c.result("output", mean);
  if (c.training()) c.result("noise", mean);
}

void lower(LowerContext& c) {
  if (!c.training()) return c.alias("output", "mean");
  const std::string dense = c.operand("mean").shape.axes;
  c.kernel("normal_sample")
      .read("mean", "mean", dense)
      .read("log_variance", "log_variance", dense)
      .read("seed", "seed")
      .read("step", "step")
      .write("dst", "output", dense)
      .write("noise", "noise", dense)
      .set("name_hash", static_cast<std::int64_t>(name_hash(c.node().name)))
      .emit();
}

void reference(ReferenceContext& c) {
  const Array &mean = c.operand("mean"), &log_variance = c.operand("log_variance");
  if (!c.training()) {
    c.result().data = mean.data;
    return;
  }
  const std::uint64_t key = random_key(static_cast<std::uint64_t>(c.scalar("seed")), c.node().name);
  const auto step = static_cast<std::uint64_t>(c.scalar("step"));
  Array& noise = c.result("noise");
  for (std::int64_t i = 0; i < mean.count(); ++i) {
    noise[i] = std::exp(log_variance[i] / 2) * normal(key, step, static_cast<std::uint64_t>(i));
    c.result()[i] = mean[i] + noise[i];
  }
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("d_output")); }
void gradient_lower(LowerContext& c) {
  const std::string dense = c.operand("noise").shape.axes;
  c.kernel("pointwise")
      .read("a", "d_output", dense)
      .read("b", "noise", dense)
      .write("out", "gradient", dense)
      .set("expression", std::string("a * b * 0.5"))
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &noise = c.operand("noise");
  for (std::int64_t i = 0; i < d.count(); ++i) c.result("gradient")[i] = d[i] * noise[i] / 2;
}
const OpDef normal_sample_gradient{
    .name = "normal_sample.gradient",
    .summary = "gradient of a normal sample by the logarithm of its variance",
    .equation = "d_log_variance = d_output · noise / 2",
    .role = Role::internal,
    .operands = {{"d_output"}, {"noise"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (c.wants("mean")) c.set("mean", c.gradient());
  if (c.wants("log_variance"))
    c.set("log_variance", c.emit(normal_sample_gradient, {c.gradient(), c.result("noise")})[0]);
}

}  // namespace

extern const OpDef normal_sample;
const OpDef normal_sample{
    .name = "normal_sample",
    .summary = "normal sample with a given mean and logarithm of the variance; the mean in evaluation",
    .equation = "output = mean + exp(log_variance / 2) · eps, eps standard normal of (seed, layer, step, element)",
    .operands = {{"mean"}, {"log_variance"}, {"seed", OperandKind::scalar}, {"step", OperandKind::scalar}},
    .results = {"output", "noise"},
    .constraints = {"C1: mean and log_variance have the same shape"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .identity_in_evaluation = true,
    .examples = {{.name = "rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "image", .inputs = {batched({3, 5, 16}), batched({3, 5, 16})}},
                 {.name = "number", .inputs = {batched({}), batched({})}, .batch = 1}},
    .internals = {&normal_sample_gradient},
};

}  // namespace weir::ops
