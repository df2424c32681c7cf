// A batch normalization that only multiplies and shifts channels, moved into the weights of the layer before it:
//   scale = gamma / sqrt(moving_variance + epsilon)
//   folded_kernel = kernel · scale, channel by channel of its last axes
//   folded_bias = (bias - moving_mean) · scale + beta
// It reads parameters and statistics alone, so it is done once for many predictions.
#include <cmath>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  c.result("folded_kernel", c.operand("kernel"));
  c.result("folded_bias", c.operand("moving_mean"));
}

void lower(LowerContext& c) {
  const Dims channels = c.operand("moving_mean").shape.dims;
  const Dims rows{element_count(c.operand("kernel").shape.dims) / channels[0], channels[0]};
  KernelBuilder kernel = c.kernel("fold_normalization");
  kernel.read_as("weights", "kernel", rows, "nc").read_as("mean", "moving_mean", channels, "o");
  kernel.read_as("variance", "moving_variance", channels, "o");
  for (const auto& [role, name] : {std::pair("bias", "bias"), std::pair("scale", "gamma"), std::pair("shift", "beta")})
    if (c.has(name)) kernel.read_as(role, name, channels, "o");
  kernel.write_as("folded", "folded_kernel", rows, "nc").write_as("folded_bias", "folded_bias", channels, "o");
  kernel.set("epsilon", c.attributes().number("epsilon")).emit();
}

void reference(ReferenceContext& c) {
  const Array& kernel = c.operand("kernel");
  const std::int64_t channels = c.operand("moving_mean").count();
  const auto of = [&](const char* name, std::int64_t channel, double absent) {
    return c.has(name) ? c.operand(name)[channel] : absent;
  };
  for (std::int64_t i = 0; i < kernel.count(); ++i) {
    const std::int64_t channel = i % channels;
    const double deviation = std::sqrt(c.operand("moving_variance")[channel] + c.attributes().number("epsilon"));
    const double scale = of("gamma", channel, 1) / deviation;
    c.result("folded_kernel")[i] = kernel[i] * scale;
    c.result("folded_bias")[channel] =
        (of("bias", channel, 0) - c.operand("moving_mean")[channel]) * scale + of("beta", channel, 0);
  }
}

}  // namespace

extern const OpDef fold_normalization;
const OpDef fold_normalization{
    .name = "fold_normalization",
    .summary = "weights with the normalization behind them folded in",
    .equation = "folded_kernel = kernel · gamma / sqrt(moving_variance + epsilon)",
    .role = Role::internal,
    .operands = {{"kernel", OperandKind::parameter},
                 {"moving_mean", OperandKind::statistic},
                 {"moving_variance", OperandKind::statistic},
                 {"bias", OperandKind::parameter, true},
                 {"gamma", OperandKind::parameter, true},
                 {"beta", OperandKind::parameter, true}},
    .results = {"folded_kernel", "folded_bias"},
    .attributes = {{.name = "epsilon", .doc = "added to the variance"}},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
};

}  // namespace weir::ops
