// The largest cell under each window. Padding is never the largest; of equal cells the first in scan order counts,
// which matters for the gradient alone. In training a second result, the workspace, holds that cell's position in its
// window.
#include "compiler/ops/pooling.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const Window window = infer_pooling(c, "max_pooling2d");
  if (!c.training()) return;
  const bool byte_counts_cells = window.rows.window * window.columns.window <= 255;  // the primitive's own rule
  c.result("workspace", batched({window.rows.output, window.columns.output, c.operand("input").dims[2]},
                                byte_counts_cells ? DType::u8 : DType::i32));
}

void lower(LowerContext& c) {
  const LoweredType input = c.operand("input");
  KernelBuilder kernel = c.kernel("pooling_forward");
  kernel.read("src", "input", input.shape.layout).write("dst", "output", input.shape.layout);
  if (c.training()) kernel.write("workspace", "workspace", input.shape.layout);
  set_pooling(kernel, "max", pooling_window(input.shape.dims, c.attributes()));
  kernel.emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  Array& y = c.result();
  std::vector<double> position(y.data.size(), -1);
  for_each_pooled_cell(x.dims, y.dims, c.attributes(), [&](const Tap& tap, std::int64_t in, std::int64_t out) {
    double& winner = position[static_cast<std::size_t>(out)];
    if (winner >= 0 && x[in] <= y[out]) return;
    y[out] = x[in];
    winner = static_cast<double>(tap.index);
  });
  if (c.training()) c.result("workspace").data = position;
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("workspace").shape.layout;
  KernelBuilder kernel = c.kernel("pooling_backward");
  kernel.read("diff_dst", "d_output", layout)
      .read("workspace", "workspace", layout)
      .write("diff_src", "gradient", layout);
  set_pooling(kernel, "max", pooling_window(c.result("gradient").shape.dims, c.attributes()));
  kernel.emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &d = c.operand("d_output"), &position = c.operand("workspace");
  Array& result = c.result("gradient");
  for_each_pooled_cell(result.dims, d.dims, c.attributes(), [&](const Tap& tap, std::int64_t in, std::int64_t out) {
    if (position[out] == static_cast<double>(tap.index)) result[in] += d[out];
  });
}
const OpDef max_pooling2d_gradient{
    .name = "max_pooling2d.gradient",
    .summary = "gradient of max_pooling2d",
    .equation = "d_input[cell] = sum of d_output over the windows whose workspace points to the cell",
    .role = Role::internal,
    .operands = {{"d_output"}, {"workspace"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
    .scatters = true,
};

void gradient(GradientContext& c) {
  c.set("input", c.emit(max_pooling2d_gradient, {c.gradient(), c.result("workspace")})[0]);
}

/// All different and below zero: a zero from the padding would win.
double negative(std::size_t, std::int64_t element) { return -1.0 - static_cast<double>(element * 7 % 101) / 8; }

}  // namespace

extern const OpDef max_pooling2d;
const OpDef max_pooling2d{
    .name = "max_pooling2d",
    .summary = "largest value under each window",
    .equation = "output[y, x] = max over i, j of input[y · stride + i - top, x · stride + j - left]",
    .operands = {{"input"}},
    .results = {"output", "workspace"},
    .attributes = pooling_attributes(),
    .constraints = pooling_constraints(),
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "odd_size_valid", .inputs = {batched({5, 7, 3})}, .attributes = {{"pool_size", Dims{2, 2}}}},
                 {.name = "odd_size_same", .inputs = {batched({5, 7, 3})}, .attributes = {{"padding", "same"}}},
                 {.name = "same_with_uneven_padding",
                  .inputs = {batched({6, 4, 17})},
                  .attributes = {{"pool_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", "same"}}},
                 {.name = "negative_values_same",
                  .inputs = {batched({5, 5, 2})},
                  .attributes = {{"pool_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", "same"}},
                  .fill = negative,
                  .batch = 2},
                 {.name = "overlapping",
                  .inputs = {batched({4, 5, 8})},
                  .attributes = {{"pool_size", Dims{3, 2}}, {"strides", Dims{1, 1}}}},
                 {.name = "strides_beyond_the_window",
                  .inputs = {batched({7, 8, 1})},
                  .attributes = {{"pool_size", Dims{2, 1}}, {"strides", Dims{3, 4}}}},
                 {.name = "explicit_padding",
                  .inputs = {batched({5, 4, 2})},
                  .attributes = {{"pool_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", Dims{1, 1, 0, 2}}}},
                 {.name = "window_of_more_than_255_cells",
                  .inputs = {batched({17, 18, 2})},
                  .attributes = {{"pool_size", Dims{16, 16}}, {"strides", Dims{1, 1}}},
                  .batch = 2},
                 {.name = "evaluation", .inputs = {batched({4, 4, 3})}, .training = false},
                 {.name = "single_cell",
                  .inputs = {batched({1, 1, 1})},
                  .attributes = {{"pool_size", Dims{1, 1}}},
                  .batch = 1}},
    .internals = {&max_pooling2d_gradient},
};

}  // namespace weir::ops
