// The mean of each channel over the steps of a sequence: the pooling of an image one pixel wide.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  if (type.dims.size() != 2)
    c.fail(1, "global_average_pooling1d needs a sequence [steps, channels], but its input is " + to_string(type));
  const std::int64_t channels = type.dims[1];
  type.dims = c.attributes().flag("keepdims") ? Dims{1, channels} : Dims{channels};
  c.result("output", type);
}

Dims column(const Shape& sequence) { return {sequence.dims[0], sequence.dims[1], 1, sequence.dims[2]}; }
Dims one_pixel(const Shape& sequence) { return {sequence.dims[0], 1, 1, sequence.dims[2]}; }

/// One window over all steps.
void set_window(KernelBuilder& kernel, const Shape& sequence) {
  const Dims whole{sequence.dims[1], 1};
  kernel.set("algorithm", "average").set("window", whole).set("strides", whole).set("padding", Dims{0, 0, 0, 0});
}

void lower(LowerContext& c) {
  const Shape sequence = c.operand("input").shape;
  KernelBuilder kernel = c.kernel("pooling_forward");
  kernel.read_as("src", "input", column(sequence), "nhwc").write_as("dst", "output", one_pixel(sequence), "nhwc");
  set_window(kernel, sequence);
  kernel.emit();
}

/// The output that an entry of the sequence belongs to.
std::int64_t output_of(const Array& sequence, std::int64_t entry) {
  const std::int64_t steps = sequence.dims[1], channels = sequence.dims[2];
  return entry / (steps * channels) * channels + entry % channels;
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  for (std::int64_t i = 0; i < x.count(); ++i) c.result()[output_of(x, i)] += x[i] / static_cast<double>(x.dims[1]);
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) {
  const Shape sequence = c.result("gradient").shape;
  KernelBuilder kernel = c.kernel("pooling_backward");
  kernel.read_as("diff_dst", "d_output", one_pixel(sequence), "nhwc")
      .write_as("diff_src", "gradient", column(sequence), "nhwc");
  set_window(kernel, sequence);
  kernel.emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  Array& result = c.result("gradient");
  for (std::int64_t i = 0; i < result.count(); ++i)
    result[i] = d[output_of(result, i)] / static_cast<double>(result.dims[1]);
}
const OpDef global_average_pooling1d_gradient{
    .name = "global_average_pooling1d.gradient",
    .summary = "gradient of global_average_pooling1d",
    .equation = "d_input[t] = d_output / steps",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(global_average_pooling1d_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef global_average_pooling1d;
const OpDef global_average_pooling1d{
    .name = "global_average_pooling1d",
    .summary = "mean of each channel over the steps of a sequence",
    .equation = "output = mean over t of input[t]",
    .operands = {{"input"}},
    .attributes = {{.name = "keepdims",
                    .type = AttributeType::flag,
                    .doc = "keep the steps as an axis of size 1",
                    .standard = false}},
    .constraints = {"C1: the input is a sequence [steps, channels]"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "sequence", .inputs = {batched({5, 7})}},
                 {.name = "sixteen_channels", .inputs = {batched({4, 16})}},
                 {.name = "kept_axis", .inputs = {batched({3, 2})}, .attributes = {{"keepdims", true}}},
                 {.name = "single_step", .inputs = {batched({1, 1})}, .batch = 1}},
    .internals = {&global_average_pooling1d_gradient},
};

}  // namespace weir::ops
