// What conv2d and depthwise_conv2d share: geometry, settings of the primitives, and the reference.
//
// A depthwise convolution is one with as many groups as channels: its kernel [h, w, in, multiplier] has the bytes of
// [h, w, 1, in · multiplier], filter c · multiplier + m reading channel c alone (Keras, PyTorch).
#pragma once

#include <algorithm>
#include <string>

#include "compiler/ir/op.hpp"
#include "compiler/ops/window.hpp"

namespace weir::ops {

/// conv2d over an image that was enlarged: the op of enlarged_conv2d.cpp, where it has less to do.
std::optional<Instead> of_enlarged(const InsteadContext& c);

/// image: the input's dims, per sample or with the batch.
inline Window convolution_window(const Dims& image, const Attributes& attributes) {
  return window_over(image, attributes.integers("kernel_size"), attributes.integers("strides"),
                     attributes.integers("dilation_rate"), attributes);
}

/// channels: of the input.
inline std::int64_t groups_of(const Attributes& attributes, std::int64_t channels) {
  return attributes.has("groups") ? attributes.integer("groups") : channels;
}
inline std::int64_t filters_of(const Attributes& attributes, std::int64_t channels) {
  return attributes.has("filters") ? attributes.integer("filters") : channels * attributes.integer("depth_multiplier");
}

/// C2 and C3 of the records; the kernel is declared by the op.
inline void infer_convolution(InferContext& c) {
  TensorType type = c.operand("input");
  const Attributes& a = c.attributes();
  const auto above_one = [](const Dims& sizes) { return sizes[0] > 1 || sizes[1] > 1; };
  if (above_one(a.integers("strides")) && above_one(a.integers("dilation_rate")))
    c.fail(2, "strides is " + to_string(a.integers("strides")) + " and dilation_rate " +
                  to_string(a.integers("dilation_rate")) + ", but only one of them may be larger than 1");
  const Window window = convolution_window(type.dims, a);
  if (!window.fits()) c.fail(3, misfit(window) + "; take a smaller kernel_size, or \"padding\": \"same\"");
  const std::int64_t filters = filters_of(a, type.dims[2]);
  if (a.flag("use_bias")) c.parameter("bias", {filters}, "o");
  type.dims = {window.rows.output, window.columns.output, filters};
  c.result("output", type);
}
/// C1.
inline void check_image(const InferContext& c, const std::string& op) {
  const TensorType& input = c.operand("input");
  if (input.dims.size() != 3)
    c.fail(1, op + " needs an image [height, width, channels], but its input is " + to_string(input));
}

/// A kernel [h, w, in / groups, out] with its groups as an axis of their own: "hwigo".
inline Dims with_groups(const Dims& kernel, const Shape& input, const Attributes& attributes) {
  const std::int64_t channels = input.dims.back(), groups = groups_of(attributes, channels);
  return {kernel[0], kernel[1], channels / groups, groups, filters_of(attributes, channels) / groups};
}

/// Whether the primitive takes the weights without an axis of groups.
inline bool in_one_group(const Attributes& attributes) {
  return attributes.has("groups") && attributes.integer("groups") == 1;
}

inline void read_weights(KernelBuilder& kernel, LowerContext& c, const Shape& input) {
  if (in_one_group(c.attributes()))
    kernel.read("weights", "kernel", "any");
  else
    kernel.read_as("weights", "kernel", with_groups(c.operand("kernel").shape.dims, input, c.attributes()), "hwigo",
                   "any");
}

inline void set_geometry(KernelBuilder& kernel, const LowerContext& c, const LoweredType& input) {
  const Attributes& a = c.attributes();
  kernel.set("strides", a.integers("strides")).set("dilation", a.integers("dilation_rate"));
  kernel.set("padding", convolution_window(input.shape.dims, a).padding());
  kernel.set("groups", groups_of(a, input.shape.dims.back()));
}

/// Where blocked layouts have fast kernels in all three directions. Tried on oneDNN 3.2 under AVX2 and AVX-512: outside
/// of this, some direction falls to the reference implementation, a thousand times slower; in nhwc none did.
inline bool may_be_blocked(const Attributes& attributes, const Shape& input, const Shape& output) {
  const std::int64_t groups = groups_of(attributes, input.dims[3]);
  const bool depthwise = groups == input.dims[3] && groups == output.dims[3];
  const auto regular = [](const WindowAxis& axis) {
    const std::int64_t most_padding = std::max(axis.before, axis.after);
    return axis.dilation == 1 && axis.window < 14 && axis.window <= axis.input && most_padding <= axis.window / 2;
  };
  const Window window = convolution_window(input.dims, attributes);
  return (groups == 1 || depthwise) && regular(window.rows) && regular(window.columns);
}

/// One layout for both images: for a mix the library has the reference implementation alone, even from a single
/// channel.
inline std::string image_layout(const LowerContext& c, const LoweredType& input, const LoweredType& output) {
  const std::string layout = c.activation_layout(input);
  const bool both = layout == c.activation_layout(output);
  return both && may_be_blocked(c.attributes(), input.shape, output.shape) ? layout : input.shape.axes;
}

inline void lower_convolution(LowerContext& c) {
  const LoweredType input = c.operand("input");
  const std::string layout = image_layout(c, input, c.result("output"));
  KernelBuilder kernel = c.kernel("convolution_forward");
  kernel.read("src", "input", layout);
  read_weights(kernel, c, input.shape);
  if (c.has("bias")) kernel.read("bias", "bias");
  kernel.write("dst", "output", layout);
  set_geometry(kernel, c, input);
  kernel.with_post_op().emit();
}

/// Calls visit(input index, kernel index, output index) for every product of the sum; dims are whole, batch included.
template <class Visit>
void for_each_product(const Dims& input, const Dims& output, const Attributes& attributes, Visit visit) {
  const std::int64_t groups = groups_of(attributes, input[3]), in = input[3] / groups, out = output[3] / groups;
  for_each_tap(convolution_window(input, attributes), [&](const Tap& tap) {
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

inline void convolution_reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &w = c.operand("kernel");
  Array& y = c.result();
  for (std::int64_t i = 0; i < y.count(); ++i) y[i] = c.has("bias") ? c.operand("bias")[i % y.dims[3]] : 0;
  for_each_product(x.dims, y.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { y[yi] += x[xi] * w[wi]; });
}

// --- Gradients

inline void convolution_input_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
inline void convolution_input_lower(LowerContext& c) {
  const LoweredType input = c.result("gradient");
  const std::string layout = image_layout(c, input, c.operand("d_output"));
  KernelBuilder kernel = c.kernel("convolution_backward_data");
  kernel.read("diff_dst", "d_output", layout);
  read_weights(kernel, c, input.shape);
  kernel.write("diff_src", "gradient", layout);
  set_geometry(kernel, c, input);
  kernel.emit();
}
inline void convolution_input_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &w = c.operand("kernel");
  Array& result = c.result("gradient");
  for_each_product(result.dims, d.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { result[xi] += d[yi] * w[wi]; });
}
/// One node for kernel and bias: the primitive computes both in one pass.
inline void convolution_parameters_infer(InferContext& c) {
  c.result("d_kernel", c.forward_operand("kernel"));
  if (c.attributes().flag("use_bias")) c.result("d_bias", c.forward_operand("bias"));
}
inline void convolution_parameters_lower(LowerContext& c) {
  const LoweredType input = c.operand("input");
  const std::string layout = image_layout(c, input, c.operand("d_output"));
  KernelBuilder kernel = c.kernel("convolution_backward_weights");
  kernel.read("src", "input", layout).read("diff_dst", "d_output", layout);
  if (in_one_group(c.attributes()))
    kernel.write("diff_weights", "d_kernel", "any");
  else
    kernel.write_as("diff_weights", "d_kernel",
                    with_groups(c.result("d_kernel").shape.dims, input.shape, c.attributes()), "hwigo", "any");
  if (c.attributes().flag("use_bias")) kernel.write("diff_bias", "d_bias");
  set_geometry(kernel, c, input);
  kernel.emit();
}
inline void convolution_parameters_reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &d = c.operand("d_output");
  Array& dw = c.result("d_kernel");
  for_each_product(x.dims, d.dims, c.attributes(),
                   [&](std::int64_t xi, std::int64_t wi, std::int64_t yi) { dw[wi] += x[xi] * d[yi]; });
  if (!c.attributes().flag("use_bias")) return;
  Array& db = c.result("d_bias");
  for (std::int64_t i = 0; i < d.count(); ++i) db[i % db.count()] += d[i];
}
/// The private records behind a convolution.
inline OpDef convolution_gradient_input(std::string_view name) {
  return {.name = name,
          .summary = "gradient of the convolution by its input",
          .equation = "d_input[cell] = sum over windows on the cell of d_output[window] · kernel[its position in it]",
          .role = Role::internal,
          .operands = {{"d_output"}, {"kernel"}},
          .results = {"gradient"},
          .infer = convolution_input_infer,
          .no_gradient = true,
          .lower = convolution_input_lower,
          .reference = convolution_input_reference};
}
inline OpDef convolution_gradient_parameters(std::string_view name) {
  return {.name = name,
          .summary = "gradient of the convolution by kernel and bias",
          .equation =
              "d_kernel[i, j] = sum over windows of input[cell i, j of the window]ᵀ · d_output[window]; "
              "d_bias = sum over samples and windows of d_output",
          .role = Role::internal,
          .operands = {{"input"}, {"d_output"}},
          .results = {"d_kernel", "d_bias"},
          .infer = convolution_parameters_infer,
          .no_gradient = true,
          .lower = convolution_parameters_lower,
          .reference = convolution_parameters_reference};
}
inline void convolution_gradient(GradientContext& c, const OpDef& by_input, const OpDef& by_parameters) {
  if (c.wants("input")) c.set("input", c.emit(by_input, {c.gradient(), c.operand("kernel")})[0]);
  if (!c.wants("kernel")) return;
  const auto parameters = c.emit(by_parameters, {c.operand("input"), c.gradient()});
  c.set("kernel", parameters[0]);
  if (c.attributes().flag("use_bias")) c.set("bias", parameters[1]);
}

}  // namespace weir::ops
