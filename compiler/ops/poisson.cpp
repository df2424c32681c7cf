// ℓ = mean over the last axis of prediction - target·log(prediction + 1e-7): the prediction is a rate, so not negative.
#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double offset(const Attributes& attributes) { return is_pytorch(attributes) ? 1e-8 : 1e-7; }
double error(double x, double t, const Attributes& attributes) { return x - t * std::log(x + offset(attributes)); }
double slope(double x, double t, const Attributes& attributes) { return 1 - t / (x + offset(attributes)); }

void lower(LowerContext& c) { lower_entries(c, is_pytorch(c.attributes()) ? "poisson_nll" : "poisson"); }

const OpDef poisson_gradient =
    loss_gradient("poisson.gradient", "gradient = (1 - target / (prediction + 1e-7)) · weight / D", infer_loss_gradient,
                  lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double, const Attributes& attributes) { return -std::log(x + offset(attributes)); }
void lower_target(LowerContext& c) { lower_entries_target(c, is_pytorch(c.attributes()) ? "poisson_nll" : "poisson"); }

const OpDef poisson_target_gradient =
    loss_target_gradient("poisson.target_gradient", "target_gradient = -log(prediction + 1e-7) · weight / D",
                         lower_target, entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, poisson_gradient);
  emit_target_gradient(c, poisson_target_gradient);
}

/// Rates above 0, then counts with 0 among them.
double rates(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 3) % 5) : 0.25 + 0.375 * static_cast<double>((i * 7) % 11);
}

}  // namespace

extern const OpDef poisson;
const OpDef poisson{
    .name = "poisson",
    .summary = "how unlikely counts are under a Poisson distribution of the predicted rates",
    .equation = "value = mean of prediction - target · log(prediction + 1e-7)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .pytorch = "1e-8 is added in the logarithm",
    .target_gradient = true,
    .examples =
        {{.name = "rows", .inputs = {batched({5}), batched({5})}, .fill = rates},
         {.name = "image",
          .inputs = {batched({2, 3, 3}), batched({2, 3, 3})},
          .attributes = {{"reduction", std::string("sum")}},
          .fill = rates},
         {.name = "counts", .inputs = {batched({4}), batched({4}, DType::i32)}, .fill = rates},
         {.name = "constant_target", .inputs = {batched({6})}, .attributes = {{"constant", 2.0}}, .fill = rates},
         {.name = "profile_pytorch",
          .inputs = {batched({5}), batched({5})},
          .attributes = {{"numerics", std::string("pytorch")}},
          .fill = rates},
         {.name = "one", .inputs = {batched({1}), batched({1})}, .fill = rates, .batch = 1},
         {.name = "target_gradient",
          .inputs = {batched({5}), batched({5})},
          .attributes = {{"target_gradient", true}},
          .fill = rates}},
    .internals = {&poisson_gradient, &poisson_target_gradient},
};

}  // namespace weir::ops
