// ℓ = mean over the last axis of (log(1 + p) - log(1 + t))², prediction and target raised to at least 1e-7. A
// prediction below that gets no gradient.
#include <algorithm>

#include "compiler/ops/target_gradient.hpp"

namespace weir::ops {
namespace {

double logarithm(double v) { return std::log1p(std::max(v, 1e-7)); }
double error(double x, double t, const Attributes&) {
  const double difference = logarithm(x) - logarithm(t);
  return difference * difference;
}
double slope(double x, double t, const Attributes&) {
  return x < 1e-7 ? 0 : 2 * (logarithm(x) - logarithm(t)) / (1 + x);
}

void lower(LowerContext& c) { lower_entries(c, "squared_logarithmic_error"); }

const OpDef mean_squared_logarithmic_error_gradient =
    loss_gradient("mean_squared_logarithmic_error.gradient",
                  "gradient = 2 · (log(1 + prediction) - log(1 + target)) / (1 + prediction) · weight / D",
                  infer_loss_gradient, lower, entries_gradient_reference<slope>);

double slope_of_target(double x, double t, const Attributes& attributes) { return slope(t, x, attributes); }
void lower_target(LowerContext& c) { lower_entries_target(c, "squared_logarithmic_error"); }

const OpDef mean_squared_logarithmic_error_target_gradient =
    loss_target_gradient("mean_squared_logarithmic_error.target_gradient",
                         "target_gradient = 2 · (log(1 + target) - log(1 + prediction)) / (1 + target) · weight / D",
                         lower_target, entries_target_gradient_reference<slope_of_target>);

void gradient(GradientContext& c) {
  emit_loss_gradient(c, mean_squared_logarithmic_error_gradient);
  emit_target_gradient(c, mean_squared_logarithmic_error_target_gradient);
}

double positive(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 3) % 7) : 0.375 + 0.75 * static_cast<double>((i * 7) % 11);
}

double both_positive(std::size_t operand, std::int64_t i) { return positive(operand, i) + 0.5; }

}  // namespace

extern const OpDef mean_squared_logarithmic_error;
const OpDef mean_squared_logarithmic_error{
    .name = "mean_squared_logarithmic_error",
    .summary = "mean of the squared differences of the logarithms, for values of many sizes",
    .equation = "value = mean of (log(1 + max(prediction, 1e-7)) - log(1 + max(target, 1e-7)))²",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .gradient = gradient,
    .lower = lower,
    .reference = entries_reference<error>,
    .target_gradient = true,
    .examples =
        {{.name = "rows", .inputs = {batched({5}), batched({5})}, .fill = positive},
         {.name = "image",
          .inputs = {batched({3, 2, 4}), batched({3, 2, 4})},
          .attributes = {{"reduction", std::string("sum")}},
          .fill = positive},
         {.name = "below_zero", .inputs = {batched({6}), batched({6})}},
         {.name = "integer_target", .inputs = {batched({4}), batched({4}, DType::i32)}, .fill = positive},
         {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 3.0}}, .fill = positive},
         {.name = "one", .inputs = {batched({1}), batched({1})}, .fill = positive, .batch = 1},
         {.name = "target_gradient",
          .inputs = {batched({5}), batched({5})},
          .attributes = {{"target_gradient", true}},
          .fill = both_positive}},
    .internals = {&mean_squared_logarithmic_error_gradient, &mean_squared_logarithmic_error_target_gradient},
};

}  // namespace weir::ops
