// output[n, y, x, o] = bias[o] + sum over i, j, c of
//     input[n, y · stride + i · dilation - top, x · stride + j · dilation - left, c] · kernel[i, j, c, o]
// Keras' convolution: the kernel is not flipped. With groups, filter o reads the channels of its own group alone.
#include "compiler/ir/op.hpp"
#include "compiler/ops/window.hpp"

namespace weir::ops {
namespace {

/// image: the input's dims, per sample or with the batch.
Window window_of(const Dims& image, const Attributes& attributes) {
  return window_over(image, attributes.integers("kernel_size"), attributes.integers("strides"),
                     attributes.integers("dilation_rate"), attributes);
}

void check(const InferContext& c, const TensorType& input) {
  const Attributes& a = c.attributes();
  if (input.dims.size() != 3)
    c.fail(1, "conv2d needs an image [height, width, channels], but its input is " + to_string(input));
  const std::int64_t groups = a.integer("groups"), channels = input.dims[2], filters = a.integer("filters");
  if (channels % groups != 0 || filters % groups != 0)
    c.fail(2, "groups is " + std::to_string(groups) + ", but it must divide the input's " + std::to_string(channels) +
                  " channels and the " + std::to_string(filters) + " filters");
  const auto above_one = [](const Dims& sizes) { return sizes[0] > 1 || sizes[1] > 1; };
  if (above_one(a.integers("strides")) && above_one(a.integers("dilation_rate")))
    c.fail(3, "strides is " + to_string(a.integers("strides")) + " and dilation_rate " +
                  to_string(a.integers("dilation_rate")) + ", but only one of them may be larger than 1");
  const Window window = window_of(input.dims, a);
  if (!window.fits()) c.fail(4, misfit(window) + "; take a smaller kernel_size, or \"padding\": \"same\"");
}

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  check(c, type);
  const Attributes& a = c.attributes();
  const Window window = window_of(type.dims, a);
  const std::int64_t filters = a.integer("filters");
  c.parameter("kernel", {window.rows.window, window.columns.window, type.dims[2] / a.integer("groups"), filters},
              "hwio");
  if (a.flag("use_bias")) c.parameter("bias", {filters}, "o");
  type.dims = {window.rows.output, window.columns.output, filters};
  c.result("output", type);
}

/// A kernel [h, w, in / groups, out] with its groups as an axis of their own.
Dims with_groups(const Dims& kernel, std::int64_t groups) {
  return {kernel[0], kernel[1], kernel[2], groups, kernel[3] / groups};
}

void read_weights(KernelBuilder& kernel, LowerContext& c) {
  const std::int64_t groups = c.attributes().integer("groups");
  if (groups == 1)
    kernel.read("weights", "kernel", "any");
  else
    kernel.read_as("weights", "kernel", with_groups(c.operand("kernel").shape.dims, groups), "hwigo", "any");
}

void set_geometry(KernelBuilder& kernel, const LowerContext& c, const LoweredType& input) {
  const Attributes& a = c.attributes();
  kernel.set("strides", a.integers("strides")).set("dilation", a.integers("dilation_rate"));
  kernel.set("padding", window_of(input.shape.dims, a).padding()).set("groups", a.integer("groups"));
}

/// Where blocked layouts have fast kernels in all three directions. Tried on oneDNN 3.2 under AVX2 and AVX-512: outside
/// of this, some direction falls to the reference implementation, a thousand times slower; in nhwc none did.
bool may_be_blocked(const Attributes& attributes, const Shape& input, const Shape& output) {
  const std::int64_t groups = attributes.integer("groups");
  const bool depthwise = groups == input.dims[3] && groups == output.dims[3];
  const auto regular = [](const WindowAxis& axis) {
    const std::int64_t most_padding = std::max(axis.before, axis.after);
    return axis.dilation == 1 && axis.window < 14 && axis.window <= axis.input && most_padding <= axis.window / 2;
  };
  const Window window = window_of(input.dims, attributes);
  return (groups == 1 || depthwise) && regular(window.rows) && regular(window.columns);
}

/// One layout for both images: for a mix the library has the reference implementation alone, even from a single
/// channel.
std::string image_layout(const LowerContext& c, const LoweredType& input, const LoweredType& output) {
  const std::string layout = c.activation_layout(input);
  const bool both = layout == c.activation_layout(output);
  return both && may_be_blocked(c.attributes(), input.shape, output.shape) ? layout : input.shape.axes;
}

void lower(LowerContext& c) {
  const LoweredType input = c.operand("input");
  const std::string layout = image_layout(c, input, c.result("output"));
  KernelBuilder kernel = c.kernel("convolution_forward");
  kernel.read("src", "input", layout);
  read_weights(kernel, c);
  if (c.has("bias")) kernel.read("bias", "bias");
  kernel.write("dst", "output", layout);
  set_geometry(kernel, c, input);
  kernel.with_post_op().emit();
}

/// Calls visit(input index, kernel index, output index) for every product of the sum; dims are whole, batch included.
template <class Visit>
void for_each_product(const Dims& input, const Dims& output, const Attributes& attributes, Visit visit) {
  const std::int64_t groups = attributes.integer("groups"), in = input[3] / groups, out = output[3] / groups;
  for_each_tap(window_of(input, attributes), [&](const Tap& tap) {
    for (std::int64_t sample = 0; sample < input[0]; ++sample)
      for (std::int64_t channel = 0; channel < input[3]; ++channel) {
        const std::int64_t group = channel / in;
        const std::int64_t x = pixel(input, sample, tap.row, tap.column) + channel;
        const std::int64_t w = (tap.index * in + channel % in) * output[3] + group * out;
        const std::int64_t y = pixel(output, sample, tap.out_row, tap.out_column) + group * out;
        for (std::int64_t o = 0; o < out; ++o) visit(x, w + o, y + o);
      }
  });
}

void reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &w = c.operand("kernel");
  Array& y = c.result();
  for (std::int64_t i = 0; i < y.count(); ++i) y[i] = c.has("bias") ? c.operand("bias")[i % y.dims[3]] : 0;
  for_each_product(x.dims, y.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { y[yi] += x[xi] * w[wi]; });
}

void input_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void input_lower(LowerContext& c) {
  const LoweredType input = c.result("gradient");
  const std::string layout = image_layout(c, input, c.operand("d_output"));
  KernelBuilder kernel = c.kernel("convolution_backward_data");
  kernel.read("diff_dst", "d_output", layout);
  read_weights(kernel, c);
  kernel.write("diff_src", "gradient", layout);
  set_geometry(kernel, c, input);
  kernel.emit();
}
void input_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &w = c.operand("kernel");
  Array& result = c.result("gradient");
  for_each_product(result.dims, d.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { result[xi] += d[yi] * w[wi]; });
}
const OpDef conv2d_gradient_input{
    .name = "conv2d.gradient_input",
    .summary = "gradient of conv2d by its input",
    .equation = "d_input[cell] = sum over windows on the cell of d_output[window] · kernel[its position in it]",
    .role = Role::internal,
    .operands = {{"d_output"}, {"kernel"}},
    .results = {"gradient"},
    .infer = input_infer,
    .no_gradient = true,
    .lower = input_lower,
    .reference = input_reference,
};

/// One node for kernel and bias: the primitive computes both in one pass.
void parameters_infer(InferContext& c) {
  c.result("d_kernel", c.forward_operand("kernel"));
  if (c.attributes().flag("use_bias")) c.result("d_bias", c.forward_operand("bias"));
}
void parameters_lower(LowerContext& c) {
  const LoweredType input = c.operand("input");
  const std::string layout = image_layout(c, input, c.operand("d_output"));
  const std::int64_t groups = c.attributes().integer("groups");
  KernelBuilder kernel = c.kernel("convolution_backward_weights");
  kernel.read("src", "input", layout).read("diff_dst", "d_output", layout);
  if (groups == 1)
    kernel.write("diff_weights", "d_kernel", "any");
  else
    kernel.write_as("diff_weights", "d_kernel", with_groups(c.result("d_kernel").shape.dims, groups), "hwigo", "any");
  if (c.attributes().flag("use_bias")) kernel.write("diff_bias", "d_bias");
  set_geometry(kernel, c, input);
  kernel.emit();
}
void parameters_reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &d = c.operand("d_output");
  Array& dw = c.result("d_kernel");
  for_each_product(x.dims, d.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { dw[wi] += x[xi] * d[yi]; });
  if (!c.attributes().flag("use_bias")) return;
  Array& db = c.result("d_bias");
  for (std::int64_t i = 0; i < d.count(); ++i) db[i % db.count()] += d[i];
}
const OpDef conv2d_gradient_parameters{
    .name = "conv2d.gradient_parameters",
    .summary = "gradient of conv2d by kernel and bias",
    .equation =
        "d_kernel[i, j] = sum over windows of input[cell i, j of the window]ᵀ · d_output[window]; "
        "d_bias = sum over samples and windows of d_output",
    .role = Role::internal,
    .operands = {{"input"}, {"d_output"}},
    .results = {"d_kernel", "d_bias"},
    .infer = parameters_infer,
    .no_gradient = true,
    .lower = parameters_lower,
    .reference = parameters_reference,
};

void gradient(GradientContext& c) {
  if (c.wants("input")) c.set("input", c.emit(conv2d_gradient_input, {c.gradient(), c.operand("kernel")})[0]);
  if (!c.wants("kernel")) return;
  const auto parameters = c.emit(conv2d_gradient_parameters, {c.operand("input"), c.gradient()});
  c.set("kernel", parameters[0]);
  if (c.attributes().flag("use_bias")) c.set("bias", parameters[1]);
}

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
          .standard = Initializer{"glorot_uniform", {}, {}}},
         {.name = "bias_initializer",
          .type = AttributeType::initializer,
          .doc = "first value of the bias",
          .standard = Initializer{"zeros", {}, {}}}},
    .constraints = {"C1: the input is an image [height, width, channels]",
                    "C2: groups divides the input's channels and the filters", "C3: strides or dilation_rate is 1",
                    "C4: the kernel fits into the padded input"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
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
          .attributes = {{"filters", 32}, {"kernel_size", Dims{3, 3}}, {"padding", "same"}}},
         {.name = "single_cell",
          .inputs = {batched({1, 1, 1})},
          .attributes = {{"filters", 1}, {"kernel_size", Dims{1, 1}}},
          .batch = 1}},
    .internals = {&conv2d_gradient_input, &conv2d_gradient_parameters},
};

}  // namespace weir::ops
