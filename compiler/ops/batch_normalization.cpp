// output = gamma · (input - mean) / sqrt(variance + epsilon) + beta for each channel, over samples and all other axes.
// Training: mean and (biased) variance of the batch; they are results, and the moving statistics follow them after the
// step. Evaluation: the moving statistics. Gradient (S. Ioffe, C. Szegedy, "Batch normalization", 2015), with x̂ =
// (input - mean) / sqrt(variance + epsilon):
//   d_input = gamma / sqrt(variance + epsilon) · (d - mean(d) - x̂ · mean(d · x̂))
//   d_gamma = sum(d · x̂), d_beta = sum(d)
#include <cmath>

#include "compiler/ir/op.hpp"
#include "compiler/ops/rows.hpp"
#include "runtime/error.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const TensorType& type = c.operand("input");
  if (type.dims.empty()) c.fail(1, "batch_normalization needs a channel axis, but its input is " + to_string(type));
  if (const std::int64_t axis = c.attributes().integer("axis"); axis != -1)
    c.fail(2, "axis is " + std::to_string(axis) + ", but only -1, the last axis, is supported yet");
  const Dims channels{type.dims.back()};
  const double momentum = c.attributes().number("momentum");
  if (c.attributes().flag("scale")) c.parameter("gamma", channels, "o");
  if (c.attributes().flag("center")) c.parameter("beta", channels, "o");
  c.statistic("moving_mean", channels, "o", "batch_mean", momentum);
  const std::int64_t values = is_pytorch(c.attributes()) ? element_count(type.dims) / channels[0] : 0;
  c.statistic("moving_variance", channels, "o", "batch_variance", momentum, values);
  c.result("output", type);
  if (!c.training()) return;
  c.result("batch_mean", unbatched(channels));
  c.result("batch_variance", unbatched(channels));
}

/// Images stay in their layout; any other rank is rows of pixels of an image one pixel wide and high.
std::string image_layout(const Shape& like) {
  return like.layout.starts_with("nC") ? like.layout : like.axes;  // what the kernels take
}
void read_image(KernelBuilder& kernel, std::string_view role, std::string_view operand, const Shape& like) {
  const Dims rows = rows_of(like);
  if (like.dims.size() == 4)
    kernel.read(role, operand, image_layout(like));
  else
    kernel.read_as(role, operand, {rows[0], 1, 1, rows[1]}, "nhwc");
}
void write_image(KernelBuilder& kernel, std::string_view role, std::string_view result, const Shape& like) {
  const Dims rows = rows_of(like);
  if (like.dims.size() == 4)
    kernel.write(role, result, image_layout(like));
  else
    kernel.write_as(role, result, {rows[0], 1, 1, rows[1]}, "nhwc");
}

void read_parameters(KernelBuilder& kernel, const LowerContext& c) {
  if (c.has("gamma")) kernel.read("scale", "gamma");
  if (c.has("beta")) kernel.read("shift", "beta");
}

/// addend: what is added to the result in the same pass, if anything.
void lower_training(LowerContext& c, std::string_view addend) {
  const Shape input = c.operand("input").shape;
  const Dims channels{input.dims.back()};
  KernelBuilder kernel = c.kernel("normalize_batch");
  read_image(kernel, "src", "input", input);
  read_parameters(kernel, c);
  if (!addend.empty()) read_image(kernel, "addend", addend, input);
  write_image(kernel, "dst", "output", input);
  kernel.write_as("mean", "batch_mean", channels, "o").write_as("variance", "batch_variance", channels, "o");
  kernel.set("epsilon", c.attributes().number("epsilon")).with_post_op().emit();
}

void lower(LowerContext& c) {
  if (c.training()) return lower_training(c, "");
  const Shape input = c.operand("input").shape;
  KernelBuilder kernel = c.kernel("batch_normalization_inference");
  read_image(kernel, "src", "input", input);
  kernel.read("mean", "moving_mean").read("variance", "moving_variance");
  read_parameters(kernel, c);
  write_image(kernel, "dst", "output", input);
  kernel.set("epsilon", c.attributes().number("epsilon")).emit();
}

double rows_of(const Array& x, std::int64_t channels) {
  const std::int64_t rows = x.count() / channels;
  return static_cast<double>(rows);
}

/// Over all rows of a channel.
double mean_of(const Array& x, std::int64_t channel, std::int64_t channels) {
  double sum = 0;
  for (std::int64_t i = channel; i < x.count(); i += channels) sum += x[i];
  return sum / rows_of(x, channels);
}
double variance_of(const Array& x, std::int64_t channel, std::int64_t channels, double mean) {
  double sum = 0;
  for (std::int64_t i = channel; i < x.count(); i += channels) sum += (x[i] - mean) * (x[i] - mean);
  return sum / rows_of(x, channels);
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const std::int64_t channels = x.dims.back();
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const double mean = c.training() ? mean_of(x, channel, channels) : c.operand("moving_mean")[channel];
    const double variance =
        c.training() ? variance_of(x, channel, channels, mean) : c.operand("moving_variance")[channel];
    if (c.training()) c.result("batch_mean")[channel] = mean;
    if (c.training()) c.result("batch_variance")[channel] = variance;
    const double gamma = c.has("gamma") ? c.operand("gamma")[channel] : 1;
    const double beta = c.has("beta") ? c.operand("beta")[channel] : 0;
    const double factor = gamma / std::sqrt(variance + c.attributes().number("epsilon"));
    for (std::int64_t i = channel; i < x.count(); i += channels) c.result()[i] = factor * (x[i] - mean) + beta;
  }
}

/// One node for all three: the primitive computes them in one pass.
void gradient_infer(InferContext& c) {
  c.result("d_input", c.forward_operand("input"));
  if (c.attributes().flag("scale")) c.result("d_gamma", c.forward_operand("gamma"));
  if (c.attributes().flag("center")) c.result("d_beta", c.forward_operand("beta"));
}
/// What the gradient reads and writes, whatever computes it.
void bind_gradient(KernelBuilder& kernel, const LowerContext& c) {
  const Shape input = c.operand("input").shape;
  const Dims channels{input.dims.back()};
  read_image(kernel, "src", "input", input);
  read_image(kernel, "diff_dst", "d_output", input);
  kernel.read_as("mean", "batch_mean", channels, "o").read_as("variance", "batch_variance", channels, "o");
  if (c.has("gamma")) kernel.read("scale", "gamma");
  write_image(kernel, "diff_src", "d_input", input);
  if (c.attributes().flag("scale")) kernel.write_as("diff_scale", "d_gamma", channels, "o");
  if (c.attributes().flag("center")) kernel.write_as("diff_shift", "d_beta", channels, "o");
  kernel.set("epsilon", c.attributes().number("epsilon"));
}
void gradient_lower(LowerContext& c) {
  KernelBuilder kernel = c.kernel(c.training() ? "normalize_batch_gradient" : "batch_normalization_backward");
  bind_gradient(kernel, c);
  if (!c.training()) kernel.set("given_statistics", true);
  kernel.emit();
}

/// One channel: sums over its rows of d, the gradient of the result, then the gradient of each row.
void gradient_of_channel(ReferenceContext& c, const Array& d, std::int64_t channel, std::int64_t channels) {
  const Array& x = c.operand("input");
  const double mean = c.operand("batch_mean")[channel];
  const double scale = 1 / std::sqrt(c.operand("batch_variance")[channel] + c.attributes().number("epsilon"));
  double d_gamma = 0, d_beta = 0;
  for (std::int64_t i = channel; i < x.count(); i += channels) {
    d_gamma += d[i] * (x[i] - mean) * scale;
    d_beta += d[i];
  }
  if (c.attributes().flag("scale")) c.result("d_gamma")[channel] = d_gamma;
  if (c.attributes().flag("center")) c.result("d_beta")[channel] = d_beta;
  const double gamma = c.has("gamma") ? c.operand("gamma")[channel] : 1;
  const double rows = rows_of(x, channels);
  for (std::int64_t i = channel; i < x.count(); i += channels) {
    const double through_statistics = c.training() ? (d_beta + (x[i] - mean) * scale * d_gamma) / rows : 0;
    c.result("d_input")[i] = gamma * scale * (d[i] - through_statistics);
  }
}
void gradient_reference(ReferenceContext& c) {
  const std::int64_t channels = c.operand("input").dims.back();
  for (std::int64_t channel = 0; channel < channels; ++channel)
    gradient_of_channel(c, c.operand("d_output"), channel, channels);
}

// ---- Together with what stands behind it (fuse_normalization)

void fused_infer(InferContext& c) {
  const Dims channels{c.operand("input").dims.back()};
  c.result("output", c.operand("input"));
  c.result("batch_mean", unbatched(channels));
  c.result("batch_variance", unbatched(channels));
}
void fused_lower(LowerContext& c) { lower_training(c, c.has("addend") ? "addend" : ""); }
void fused_reference(ReferenceContext& c) {
  reference(c);
  if (!c.has("addend")) return;
  for (std::int64_t i = 0; i < c.result().count(); ++i) c.result()[i] += c.operand("addend")[i];
}
const OpDef batch_normalization_fused{
    .name = "batch_normalization.fused",
    .summary = "batch_normalization, and what is added to it",
    .equation = "output = gamma · (input - mean) / sqrt(variance + epsilon) + beta + addend",
    .role = Role::internal,
    .operands = {{"input"},
                 {"gamma", OperandKind::parameter, true},
                 {"beta", OperandKind::parameter, true},
                 {"moving_mean", OperandKind::statistic},
                 {"moving_variance", OperandKind::statistic},
                 {"addend", OperandKind::value, true}},
    .results = {"output", "batch_mean", "batch_variance"},
    .infer = fused_infer,
    .no_gradient = true,
    .lower = fused_lower,
    .reference = fused_reference,
};

bool gives_addend(const Node& node) { return node.results.size() > 3 && node.results[3] != none; }

void fused_gradient_infer(InferContext& c) {
  gradient_infer(c);
  if (c.has("output")) c.result("d_addend", c.operand("output"));
}
void fused_gradient_lower(LowerContext& c) {
  KernelBuilder kernel = c.kernel("normalize_batch_gradient");
  bind_gradient(kernel, c);
  const Shape input = c.operand("input").shape;
  if (c.has("beta")) kernel.read("shift", "beta");
  if (c.has("output")) read_image(kernel, "dst", "output", input);
  if (gives_addend(c.node())) write_image(kernel, "diff_addend", "d_addend", input);
  kernel.set("post_op", c.attributes().word("activation")).emit();
}

/// d_output where the activation let its input through.
Array let_through(ReferenceContext& c) {
  Array d = c.operand("d_output");
  const Array& x = c.operand("input");
  const double most = c.attributes().word("activation") == "relu6" ? 6 : HUGE_VAL;
  for (std::int64_t i = 0; i < d.count(); ++i) {
    const std::int64_t channel = i % x.dims.back();
    const double deviation = std::sqrt(c.operand("batch_variance")[channel] + c.attributes().number("epsilon"));
    const double gamma = c.has("gamma") ? c.operand("gamma")[channel] : 1;
    const double beta = c.has("beta") ? c.operand("beta")[channel] : 0;
    const double value =
        c.has("output") ? c.operand("output")[i] : gamma * (x[i] - c.operand("batch_mean")[channel]) / deviation + beta;
    if (!(value > 0 && value < most)) d[i] = 0;
  }
  return d;
}
void fused_gradient_reference(ReferenceContext& c) {
  const Array d = let_through(c);
  const std::int64_t channels = c.operand("input").dims.back();
  for (std::int64_t channel = 0; channel < channels; ++channel) gradient_of_channel(c, d, channel, channels);
  if (gives_addend(c.node())) c.result("d_addend") = d;
}
const OpDef batch_normalization_fused_gradient{
    .name = "batch_normalization.fused_gradient",
    .summary =
        "gradient of batch_normalization by its input, gamma and beta, of what the activation behind it lets pass",
    .equation =
        "as batch_normalization.gradient, with d = d_output where the activation's derivative is 1, else 0: read off "
        "the output, or where it is absent off gamma · x̂ + beta; d_addend = d",
    .role = Role::internal,
    .operands = {{"input"},
                 {"d_output"},
                 {"batch_mean"},
                 {"batch_variance"},
                 {"gamma", OperandKind::value, true},
                 {"beta", OperandKind::value, true},
                 {"output", OperandKind::value, true}},
    .results = {"d_input", "d_gamma", "d_beta", "d_addend"},
    .infer = fused_gradient_infer,
    .no_gradient = true,
    .lower = fused_gradient_lower,
    .reference = fused_gradient_reference,
};

const OpDef batch_normalization_gradient{
    .name = "batch_normalization.gradient",
    .summary = "gradient of batch_normalization by its input, gamma and beta",
    .equation =
        "d_input = gamma / sqrt(variance + epsilon) · (d - mean(d) - x̂ · mean(d · x̂)), in evaluation without the two "
        "means; d_gamma = sum(d · x̂), d_beta = sum(d), with d = d_output and the normalized input x̂",
    .role = Role::internal,
    .operands = {{"input"}, {"d_output"}, {"batch_mean"}, {"batch_variance"}, {"gamma", OperandKind::value, true}},
    .results = {"d_input", "d_gamma", "d_beta"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
    .fused = &batch_normalization_fused_gradient,
};

void gradient(GradientContext& c) {
  const ValueId mean = c.training() ? c.result("batch_mean") : c.operand("moving_mean");
  const ValueId variance = c.training() ? c.result("batch_variance") : c.operand("moving_variance");
  const auto results =
      c.emit(batch_normalization_gradient, {c.operand("input"), c.gradient(), mean, variance, c.operand("gamma")});
  if (c.wants("input")) c.set("input", results[0]);
  if (c.attributes().flag("scale") && c.wants("gamma")) c.set("gamma", results[1]);
  if (c.attributes().flag("center") && c.wants("beta")) c.set("beta", results[2]);
}

/// Evaluation: what stands for a variance must be positive.
double positive_statistics(std::size_t operand, std::int64_t element) {
  const double value = static_cast<double>(element * 7 % 11 + 1) / 4;
  return operand == 0 && element % 2 ? -value : value;
}

}  // namespace

extern const OpDef batch_normalization;
const OpDef batch_normalization{
    .name = "batch_normalization",
    .summary = "each channel to mean beta and standard deviation gamma",
    .equation = "output = gamma · (input - mean) / sqrt(variance + epsilon) + beta",
    .operands = {{"input"},
                 {"gamma", OperandKind::parameter, true},
                 {"beta", OperandKind::parameter, true},
                 {"moving_mean", OperandKind::statistic},
                 {"moving_variance", OperandKind::statistic}},
    .results = {"output", "batch_mean", "batch_variance"},
    .attributes =
        {{.name = "axis", .type = AttributeType::axis, .doc = "axis of the channels", .standard = std::int64_t{-1}},
         {.name = "momentum",
          .doc = "weight of the old value when a moving statistic moves",
          .standard = 0.99,
          .least = 0,
          .most = 1,
          .pytorch = 0.9},
         {.name = "epsilon",
          .doc = "added to the variance",
          .standard = 1e-3,
          .least = 0,
          .exclusive_least = true,
          .pytorch = 1e-5},
         {.name = "center", .type = AttributeType::flag, .doc = "add beta", .standard = true},
         {.name = "scale", .type = AttributeType::flag, .doc = "multiply by gamma", .standard = true},
         {.name = "beta_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of beta",
          .standard = Initializer{"zeros", {}, {}}},
         {.name = "gamma_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of gamma",
          .standard = Initializer{"ones", {}, {}}},
         {.name = "moving_mean_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of moving_mean",
          .standard = Initializer{"zeros", {}, {}}},
         {.name = "moving_variance_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of moving_variance",
          .standard = Initializer{"ones", {}, {}}}},
    .constraints = {"C1: the input has at least one axis besides the batch", "C2: axis is -1"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .pytorch = "the moving variance follows the unbiased variance of the batch, n / (n - 1) times the biased one",
    .frozen_is_evaluation = true,
    .fused = &batch_normalization_fused,
    .examples = {{.name = "image", .inputs = {batched({3, 2, 16})}},
                 {.name = "odd_channels", .inputs = {batched({3, 5, 17})}, .batch = 2},
                 {.name = "rows", .inputs = {batched({5})}, .batch = 4},
                 {.name = "sequence", .inputs = {batched({4, 3})}},
                 {.name = "neither_scale_nor_center",
                  .inputs = {batched({3, 3, 4})},
                  .attributes = {{"scale", false}, {"center", false}}},
                 {.name = "without_scale",
                  .inputs = {batched({2, 3, 8})},
                  .attributes = {{"scale", false}, {"epsilon", 0.25}}},
                 {.name = "without_center", .inputs = {batched({6})}, .attributes = {{"center", false}}, .batch = 5},
                 {.name = "one_sample", .inputs = {batched({3, 4, 2})}, .batch = 1},
                 {.name = "one_row", .inputs = {batched({3})}, .batch = 1},
                 {.name = "evaluation_of_an_image",
                  .inputs = {batched({3, 2, 16})},
                  .training = false,
                  .fill = positive_statistics},
                 {.name = "evaluation_of_rows",
                  .inputs = {batched({5})},
                  .attributes = {{"scale", false}, {"epsilon", 0.5}},
                  .training = false,
                  .fill = positive_statistics,
                  .batch = 1}},
    .internals = {&batch_normalization_gradient, &batch_normalization_fused, &batch_normalization_fused_gradient},
};

}  // namespace weir::ops
