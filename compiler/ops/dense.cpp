// output = input · kernel + bias over the last axis; kernel is [in, out] as in Keras.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

/// [B, …, in] as [rows, in]: all leading axes are rows.
Dims rows_of(const Shape& shape) {
  const std::int64_t last = shape.dims.back();
  return {last ? element_count(shape.dims) / last : 0, last};
}

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  if (type.dims.empty()) c.fail(1, "dense needs a feature axis, but its input is " + to_string(type));
  const std::int64_t units = c.attributes().integer("units");
  c.parameter("kernel", {type.dims.back(), units}, "io");
  if (c.attributes().flag("use_bias")) c.parameter("bias", {units}, "o");
  type.dims.back() = units;
  c.result("output", type);
}

void lower(LowerContext& c) {
  const Dims in = rows_of(c.operand("input").shape), out = rows_of(c.result("output").shape);
  KernelBuilder kernel = c.kernel("inner_product_forward");
  kernel.read_as("src", "input", in, "nc").read("weights", "kernel", "any");
  if (c.has("bias")) kernel.read("bias", "bias");
  kernel.write_as("dst", "output", out, "nc").with_post_op().emit();
}

void reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &w = c.operand("kernel");
  Array& y = c.result();
  const std::int64_t in = w.dims[0], out = w.dims[1];
  for (std::int64_t row = 0; row < y.count() / out; ++row)
    for (std::int64_t o = 0; o < out; ++o) {
      double sum = c.has("bias") ? c.operand("bias")[o] : 0;
      for (std::int64_t i = 0; i < in; ++i) sum += x[row * in + i] * w[i * out + o];
      y[row * out + o] = sum;
    }
}

void input_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void input_lower(LowerContext& c) {
  c.kernel("inner_product_backward_data")
      .read_as("diff_dst", "d_output", rows_of(c.operand("d_output").shape), "nc")
      .read("weights", "kernel", "any")
      .write_as("diff_src", "gradient", rows_of(c.result("gradient").shape), "nc")
      .emit();
}
void input_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &w = c.operand("kernel");
  Array& result = c.result("gradient");
  const std::int64_t in = w.dims[0], out = w.dims[1];
  for (std::int64_t row = 0; row < d.count() / out; ++row)
    for (std::int64_t i = 0; i < in; ++i) {
      double sum = 0;
      for (std::int64_t o = 0; o < out; ++o) sum += d[row * out + o] * w[i * out + o];
      result[row * in + i] = sum;
    }
}
const OpDef dense_gradient_input{
    .name = "dense.gradient_input",
    .summary = "gradient of dense by its input",
    .equation = "d_input = d_output · kernelᵀ",
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
  KernelBuilder kernel = c.kernel("inner_product_backward_weights");
  kernel.read_as("src", "input", rows_of(c.operand("input").shape), "nc")
      .read_as("diff_dst", "d_output", rows_of(c.operand("d_output").shape), "nc")
      .write("diff_weights", "d_kernel", "any");
  if (c.attributes().flag("use_bias")) kernel.write("diff_bias", "d_bias");
  kernel.emit();
}
void parameters_reference(ReferenceContext& c) {
  const Array &x = c.operand("input"), &d = c.operand("d_output");
  Array& dw = c.result("d_kernel");
  const std::int64_t in = dw.dims[0], out = dw.dims[1];
  for (std::int64_t row = 0; row < d.count() / out; ++row)
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) dw[i * out + o] += x[row * in + i] * d[row * out + o];
      if (c.attributes().flag("use_bias")) c.result("d_bias")[o] += d[row * out + o];
    }
}
const OpDef dense_gradient_parameters{
    .name = "dense.gradient_parameters",
    .summary = "gradient of dense by kernel and bias",
    .equation = "d_kernel = inputᵀ · d_output; d_bias = sum over rows of d_output",
    .role = Role::internal,
    .operands = {{"input"}, {"d_output"}},
    .results = {"d_kernel", "d_bias"},
    .infer = parameters_infer,
    .no_gradient = true,
    .lower = parameters_lower,
    .reference = parameters_reference,
};

void gradient(GradientContext& c) {
  if (c.wants("input")) c.set("input", c.emit(dense_gradient_input, {c.gradient(), c.operand("kernel")})[0]);
  if (!c.wants("kernel")) return;
  const auto parameters = c.emit(dense_gradient_parameters, {c.operand("input"), c.gradient()});
  c.set("kernel", parameters[0]);
  if (c.attributes().flag("use_bias")) c.set("bias", parameters[1]);
}

}  // namespace

extern const OpDef dense;
const OpDef dense{
    .name = "dense",
    .summary = "fully connected layer over the last axis",
    .equation = "output = activation(input · kernel + bias)",
    .operands = {{"input"}, {"kernel", OperandKind::parameter}, {"bias", OperandKind::parameter, true}},
    .attributes =
        {{.name = "units", .type = AttributeType::integer, .doc = "size of the output's last axis", .least = 1},
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
    .constraints = {"C1: the input has at least one axis besides the batch"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .accepts_post_op = true,
    .examples =
        {{.name = "plain", .inputs = {batched({5})}, .attributes = {{"units", std::int64_t{4}}}},
         {.name = "no_bias", .inputs = {batched({3})}, .attributes = {{"units", std::int64_t{7}}, {"use_bias", false}}},
         {.name = "one_by_one", .inputs = {batched({1})}, .attributes = {{"units", std::int64_t{1}}}, .batch = 1},
         {.name = "sequence", .inputs = {batched({4, 5})}, .attributes = {{"units", std::int64_t{3}}}}},
    .internals = {&dense_gradient_input, &dense_gradient_parameters},
};

}  // namespace weir::ops
