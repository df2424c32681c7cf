// How far the mean activity of each unit is from rho, as the divergence of two coins (A. Ng, "Sparse autoencoder",
// 2011):
//   r_j = mean over the real rows of unit j, clipped to [1e-7, 1 - 1e-7]
//   value = Σ_j rho·log(rho / r_j) + (1 - rho)·log((1 - rho) / (1 - r_j))
// A unit is an entry of one sample; units are summed, as there. One number for the whole batch, so that a reduction
// changes nothing. The slope is 0 where the mean was clipped.
#include <algorithm>
#include <array>

#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

constexpr double least = 1e-7, most = 1 - 1e-7;

void infer(InferContext& c) {
  if (c.attributes().is_word("reduction") && c.attributes().word("reduction") == "batch_mean")
    c.fail(2, "the loss is one number for the whole batch, so it has no mean over samples");
  check_prediction(c);
  c.result("value", scalar_type());
}

void lower(LowerContext& c) {
  const bool gradient = c.node().op->results[0] == "gradient";
  const Dims dims = entries_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel(gradient ? "kl_sparsity_gradient" : "kl_sparsity");
  kernel.read_as("prediction", "prediction", dims, "nc");
  if (gradient) kernel.read("weight", "weight");
  kernel.read("rows", "rows");
  if (gradient)
    kernel.write_as("gradient", "gradient", dims, "nc");
  else
    kernel.write("value", "value");
  kernel.set("rho", c.attributes().number("rho")).emit();
}

/// Of unit j over the real rows, not clipped.
double mean_of_unit(const LossView& view, std::int64_t unit) {
  double sum = 0;
  for (std::int64_t i = unit; i < view.real_entries(); i += view.sample) sum += view.prediction[i];
  return sum / view.rows;
}

void reference(ReferenceContext& c) {
  const LossView view(c);
  const double rho = view.attributes.number("rho");
  double sum = 0;
  for (std::int64_t unit = 0; view.rows > 0 && unit < view.sample; ++unit) {
    const double r = std::clamp(mean_of_unit(view, unit), least, most);
    sum += rho * std::log(rho / r) + (1 - rho) * std::log((1 - rho) / (1 - r));
  }
  c.result("value")[0] = sum;
}

void gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double rho = view.attributes.number("rho"), weight = c.scalar("weight");
  for (std::int64_t unit = 0; view.rows > 0 && weight != 0 && unit < view.sample; ++unit) {
    const double r = mean_of_unit(view, unit);
    const double slope = r < least || r > most ? 0 : (1 - rho) / (1 - r) - rho / r;
    for (std::int64_t i = unit; i < view.real_entries(); i += view.sample)
      c.result("gradient")[i] = slope * weight / view.rows;
  }
}

const OpDef kl_sparsity_gradient{
    .name = "kl_sparsity.gradient",
    .summary = "gradient of kl_sparsity",
    .equation = "gradient = ((1 - rho) / (1 - r_j) - rho / r_j) · weight / rows",
    .role = Role::internal,
    .operands = {{"prediction"}, {"weight", OperandKind::scalar}, {"rows", OperandKind::scalar}},
    .results = {"gradient"},
    .infer = infer_loss_gradient,
    .no_gradient = true,
    .lower = lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (!c.wants("prediction")) return;
  c.set("prediction",
        c.emit(kl_sparsity_gradient, {c.operand("prediction"), c.gradient("value"), c.operand("rows")})[0]);
}

double between_0_and_1(std::size_t, std::int64_t element) {
  return 0.1 + static_cast<double>(element * 37 % 41) / 50.0;
}
/// Units whose mean is clipped below, above, and not at all.
double beyond_the_ends(std::size_t, std::int64_t element) {
  return std::array{-0.5, 1.5, 0.4}[static_cast<std::size_t>(element) % 3];
}

}  // namespace

extern const OpDef kl_sparsity;
const OpDef kl_sparsity{
    .name = "kl_sparsity",
    .summary = "how far each unit's mean activity over the batch is from rho",
    .equation =
        "value = Σ_j rho · log(rho / r_j) + (1 - rho) · log((1 - rho) / (1 - r_j)), r_j the batch mean of unit j",
    .role = Role::loss,
    .operands = {{"prediction"}, {"rows", OperandKind::scalar}},
    .results = {"value"},
    .attributes = {reduction_attribute(),
                   {.name = "rho",
                    .doc = "wanted mean activity of a unit",
                    .standard = 0.05,
                    .least = 0,
                    .most = 1,
                    .exclusive_least = true,
                    .exclusive_most = true}},
    .constraints = {"C1: the node is f32", "C2: reduction is mean or sum, which are the same here"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .no_target = true,
    .examples =
        {{.name = "rows", .inputs = {batched({5})}, .attributes = {{"rho", 0.05}}, .fill = between_0_and_1},
         {.name = "image", .inputs = {batched({3, 2, 4})}, .attributes = {{"rho", 0.3}}, .fill = between_0_and_1},
         {.name = "beyond_the_ends", .inputs = {batched({3})}, .attributes = {{"rho", 0.1}}, .fill = beyond_the_ends}},
    .internals = {&kl_sparsity_gradient},
};

}  // namespace weir::ops
