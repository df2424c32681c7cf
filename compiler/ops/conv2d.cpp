// output[n, y, x, o] = bias[o] + sum over i, j, c of
//     input[n, y · stride + i · dilation - top, x · stride + j · dilation - left, c] · kernel[i, j, c, o]
// Keras' convolution: the kernel is not flipped. With groups, filter o reads the channels of its own group alone.
#include "compiler/ops/convolution.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  check_image(c, "conv2d");
  const Attributes& a = c.attributes();
  const std::int64_t groups = a.integer("groups"), filters = a.integer("filters");
  const std::int64_t channels = c.operand("input").dims[2];
  if (channels % groups != 0 || filters % groups != 0)
    c.fail(4, "groups is " + std::to_string(groups) + ", but it must divide the input's " + std::to_string(channels) +
                  " channels and the " + std::to_string(filters) + " filters");
  const Dims& size = a.integers("kernel_size");
  c.parameter("kernel", {size[0], size[1], channels / groups, filters}, "hwio");
  infer_convolution(c);
}

const OpDef conv2d_gradient_input = convolution_gradient_input("conv2d.gradient_input");
const OpDef conv2d_gradient_parameters = convolution_gradient_parameters("conv2d.gradient_parameters");

void gradient(GradientContext& c) { convolution_gradient(c, conv2d_gradient_input, conv2d_gradient_parameters); }

}  // namespace

extern const OpDef conv2d;
const OpDef conv2d{
    .name = "conv2d",
    .summary = "convolution over height and width",
    .equation =
        "output[y, x] = activation(bias + sum over i, j of "
        "input[y · stride + i · dilation - top, x · stride + j · dilation - left] · kernel[i, j])",
    .operands = {{"input"}, {"kernel", OperandKind::parameter}, {"bias", OperandKind::parameter, true}},
    .attributes =
        {{.name = "filters", .type = AttributeType::integer, .doc = "channels of the output", .least = 1},
         {.name = "kernel_size",
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
         {.name = "dilation_rate",
          .type = AttributeType::sizes,
          .doc = "distance of the cells under the kernel",
          .standard = Dims{1, 1},
          .least = 1,
          .most = longest_window,
          .count = 2},
         {.name = "groups",
          .type = AttributeType::integer,
          .doc = "the channels are split into so many groups, each with filters of its own",
          .standard = std::int64_t{1},
          .least = 1},
         {.name = "activation", .type = AttributeType::activation, .doc = "applied to the result", .optional = true},
         {.name = "use_bias", .type = AttributeType::flag, .doc = "add a bias", .standard = true},
         {.name = "kernel_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the kernel",
          .standard = Initializer{"glorot_uniform", {}, {}},
          .pytorch = Initializer{"fan_in_uniform", {}, {}}},
         {.name = "bias_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the bias",
          .standard = Initializer{"zeros", {}, {}},
          .pytorch = Initializer{"fan_in_uniform", {}, {}}}},
    .constraints = {"C1: the input is an image [height, width, channels]", "C2: strides or dilation_rate is 1",
                    "C3: the kernel fits into the padded input",
                    "C4: groups divides the input's channels and the filters"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower_convolution,
    .reference = convolution_reference,
    .instead = of_enlarged,
    .accepts_post_op = true,
    .examples =
        {{.name = "valid", .inputs = {batched({5, 6, 3})}, .attributes = {{"filters", 4}, {"kernel_size", Dims{3, 2}}}},
         {.name = "gray_image_same",
          .inputs = {batched({7, 5, 1})},
          .attributes = {{"filters", 9}, {"kernel_size", Dims{3, 3}}, {"padding", "same"}}},
         {.name = "odd_channels_same",
          .inputs = {batched({5, 3, 17})},
          .attributes = {{"filters", 19}, {"kernel_size", Dims{3, 3}}, {"padding", "same"}}},
         {.name = "same_with_uneven_padding",
          .inputs = {batched({6, 8, 2})},
          .attributes = {{"filters", 3}, {"kernel_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", "same"}}},
         {.name = "even_kernel_same",
          .inputs = {batched({5, 6, 3})},
          .attributes = {{"filters", 8}, {"kernel_size", Dims{2, 4}}, {"padding", "same"}}},
         {.name = "strides_beyond_the_kernel",
          .inputs = {batched({7, 8, 2})},
          .attributes = {{"filters", 3}, {"kernel_size", Dims{1, 2}}, {"strides", Dims{3, 3}}}},
         {.name = "explicit_padding",
          .inputs = {batched({5, 4, 2})},
          .attributes =
              {{"filters", 3}, {"kernel_size", Dims{3, 3}}, {"strides", Dims{2, 1}}, {"padding", Dims{0, 2, 1, 0}}}},
         {.name = "dilated",
          .inputs = {batched({7, 6, 2})},
          .attributes =
              {{"filters", 3}, {"kernel_size", Dims{3, 2}}, {"dilation_rate", Dims{2, 3}}, {"padding", "same"}}},
         {.name = "groups",
          .inputs = {batched({4, 5, 4})},
          .attributes = {{"filters", 6}, {"kernel_size", Dims{3, 3}}, {"groups", 2}}},
         {.name = "depthwise",
          .inputs = {batched({5, 5, 8})},
          .attributes = {{"filters", 8}, {"kernel_size", Dims{3, 3}}, {"groups", 8}, {"padding", "same"}}},
         {.name = "one_by_one_without_bias",
          .inputs = {batched({3, 3, 5})},
          .attributes = {{"filters", 16}, {"kernel_size", Dims{1, 1}}, {"use_bias", false}}},
         {.name = "kernel_covers_the_input",
          .inputs = {batched({3, 4, 2})},
          .attributes = {{"filters", 5}, {"kernel_size", Dims{3, 4}}}},
         {.name = "blocked_channels",
          .inputs = {batched({6, 5, 16})},
          .attributes = {{"filters", 32}, {"kernel_size", Dims{3, 3}}, {"padding", "same"}},
          .batch = 4},
         {.name = "single_cell",
          .inputs = {batched({1, 1, 1})},
          .attributes = {{"filters", 1}, {"kernel_size", Dims{1, 1}}},
          .batch = 1}},
    .internals = {&conv2d_gradient_input, &conv2d_gradient_parameters},
};

}  // namespace weir::ops
