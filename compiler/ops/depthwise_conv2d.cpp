// output[n, y, x, c · multiplier + m] = bias + sum over i, j of
//     input[n, y · stride + i · dilation - top, x · stride + j · dilation - left, c] · kernel[i, j, c, m]
// Keras' depthwise convolution: each channel is convolved with filters of its own.
#include "compiler/ops/convolution.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  check_image(c, "depthwise_conv2d");
  const Attributes& a = c.attributes();
  const Dims& size = a.integers("kernel_size");
  c.parameter("kernel", {size[0], size[1], c.operand("input").dims[2], a.integer("depth_multiplier")}, "hwio");
  infer_convolution(c);
}

const OpDef depthwise_conv2d_gradient_input = convolution_gradient_input("depthwise_conv2d.gradient_input");
const OpDef depthwise_conv2d_gradient_parameters =
    convolution_gradient_parameters("depthwise_conv2d.gradient_parameters");

void gradient(GradientContext& c) {
  convolution_gradient(c, depthwise_conv2d_gradient_input, depthwise_conv2d_gradient_parameters);
}

}  // namespace

extern const OpDef depthwise_conv2d;
const OpDef depthwise_conv2d{
    .name = "depthwise_conv2d",
    .summary = "convolution of each channel with filters of its own",
    .equation =
        "output[y, x, c · depth_multiplier + m] = activation(bias + sum over i, j of "
        "input[y · stride + i · dilation - top, x · stride + j · dilation - left, c] · kernel[i, j, c, m])",
    .operands = {{"input"}, {"kernel", OperandKind::parameter}, {"bias", OperandKind::parameter, true}},
    .attributes =
        {{.name = "kernel_size",
          .type = AttributeType::sizes,
          .doc = "height and width of the kernel",
          .least = 1,
          .most = longest_window,
          .count = 2},
         {.name = "strides",
          .type = AttributeType::sizes,
          .doc = "steps of the window",
          .standard = Dims{1, 1},
          .least = 1,
          .most = longest_window,
          .count = 2},
         {.name = "padding",
          .type = AttributeType::padding,
          .doc = padding_doc,
          .standard = "valid",
          .least = 0,
          .most = longest_window},
         {.name = "depth_multiplier",
          .type = AttributeType::integer,
          .doc = "filters of each channel",
          .standard = std::int64_t{1},
          .least = 1},
         {.name = "dilation_rate",
          .type = AttributeType::sizes,
          .doc = "distance of the cells under the kernel",
          .standard = Dims{1, 1},
          .least = 1,
          .most = longest_window,
          .count = 2},
         {.name = "activation", .type = AttributeType::activation, .doc = "applied to the result", .optional = true},
         {.name = "use_bias", .type = AttributeType::flag, .doc = "add a bias", .standard = true},
         {.name = "kernel_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the kernel",
          .standard = Initializer{"glorot_uniform", {}, {}}},
         {.name = "bias_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the bias",
          .standard = Initializer{"zeros", {}, {}}}},
    .constraints = {"C1: the input is an image [height, width, channels]", "C2: strides or dilation_rate is 1",
                    "C3: the kernel fits into the padded input"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower_convolution,
    .reference = convolution_reference,
    .accepts_post_op = true,
    .examples = {{.name = "same",
                  .inputs = {batched({5, 6, 8})},
                  .attributes = {{"kernel_size", Dims{3, 3}}, {"padding", "same"}}},
                 {.name = "odd_channels", .inputs = {batched({6, 5, 5})}, .attributes = {{"kernel_size", Dims{3, 2}}}},
                 {.name = "sixteen_channels_strided",
                  .inputs = {batched({8, 7, 16})},
                  .attributes = {{"kernel_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", "same"}}},
                 {.name = "multiplier",
                  .inputs = {batched({5, 5, 3})},
                  .attributes = {{"kernel_size", Dims{2, 2}}, {"depth_multiplier", std::int64_t{2}}}},
                 {.name = "dilated_without_bias",
                  .inputs = {batched({7, 7, 2})},
                  .attributes = {{"kernel_size", Dims{3, 3}}, {"dilation_rate", Dims{2, 2}}, {"use_bias", false}}},
                 {.name = "one_channel", .inputs = {batched({4, 4, 1})}, .attributes = {{"kernel_size", Dims{3, 3}}}},
                 {.name = "single_cell",
                  .inputs = {batched({1, 1, 1})},
                  .attributes = {{"kernel_size", Dims{1, 1}}},
                  .batch = 1}},
    .internals = {&depthwise_conv2d_gradient_input, &depthwise_conv2d_gradient_parameters},
};

}  // namespace weir::ops
