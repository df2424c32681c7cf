// The mean of each channel over height and width.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  if (type.dims.size() != 3)
    c.fail(1, "global_average_pooling2d needs an image [height, width, channels], but its input is " + to_string(type));
  const std::int64_t channels = type.dims[2];
  type.dims = c.attributes().flag("keepdims") ? Dims{1, 1, channels} : Dims{channels};
  c.result("output", type);
}

/// One window over the whole image.
void set_window(KernelBuilder& kernel, const Shape& image) {
  const Dims whole{image.dims[1], image.dims[2]};
  kernel.set("algorithm", "average").set("window", whole).set("strides", whole).set("padding", Dims{0, 0, 0, 0});
}

Dims one_pixel(const Shape& image) { return {image.dims[0], 1, 1, image.dims[3]}; }

void lower(LowerContext& c) {
  const Shape image = c.operand("input").shape;
  KernelBuilder kernel = c.kernel("pooling_forward");
  kernel.read("src", "input", image.axes).write_as("dst", "output", one_pixel(image), "nhwc");
  set_window(kernel, image);
  kernel.emit();
}

/// Pixels of one sample.
std::int64_t pixels(const Array& image) { return image.dims[1] * image.dims[2]; }

/// The output that an entry of the image belongs to.
std::int64_t output_of(const Array& image, std::int64_t entry) {
  const std::int64_t channels = image.dims[3];
  return entry / (pixels(image) * channels) * channels + entry % channels;
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[output_of(x, i)] += x[i] / static_cast<double>(pixels(x));
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) {
  const Shape image = c.result("gradient").shape;
  KernelBuilder kernel = c.kernel("pooling_backward");
  kernel.read_as("diff_dst", "d_output", one_pixel(image), "nhwc").write("diff_src", "gradient", image.axes);
  set_window(kernel, image);
  kernel.emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  Array& result = c.result("gradient");
  for (std::int64_t i = 0; i < result.count(); ++i)
    result[i] = d[output_of(result, i)] / static_cast<double>(pixels(result));
}
const OpDef global_average_pooling2d_gradient{
    .name = "global_average_pooling2d.gradient",
    .summary = "gradient of global_average_pooling2d",
    .equation = "d_input[y, x] = d_output / (height · width)",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(global_average_pooling2d_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef global_average_pooling2d;
const OpDef global_average_pooling2d{
    .name = "global_average_pooling2d",
    .summary = "mean of each channel over the image",
    .equation = "output = mean over y, x of input[y, x]",
    .operands = {{"input"}},
    .attributes = {{.name = "keepdims",
                    .type = AttributeType::flag,
                    .doc = "keep height and width as axes of size 1",
                    .standard = false}},
    .constraints = {"C1: the input is an image [height, width, channels]"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "image", .inputs = {batched({3, 5, 7})}},
                 {.name = "sixteen_channels", .inputs = {batched({4, 4, 16})}},
                 {.name = "kept_axes", .inputs = {batched({2, 3, 2})}, .attributes = {{"keepdims", true}}},
                 {.name = "single_cell", .inputs = {batched({1, 1, 1})}, .batch = 1}},
    .internals = {&global_average_pooling2d_gradient},
};

}  // namespace weir::ops
