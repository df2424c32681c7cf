// The mean of the cells under each window. Cells in the padding are not counted, neither above nor below the line
// (Keras); in profile pytorch they count as zeros.
#include "compiler/ops/pooling.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) { infer_pooling(c, "average_pooling2d"); }

std::string algorithm_of(const Attributes& attributes) {
  return is_pytorch(attributes) ? "average_with_padding" : "average";
}

void lower(LowerContext& c) {
  const LoweredType input = c.operand("input");
  KernelBuilder kernel = c.kernel("pooling_forward");
  kernel.read("src", "input", input.shape.layout).write("dst", "output", input.shape.layout);
  set_pooling(kernel, algorithm_of(c.attributes()), pooling_window(input.shape.dims, c.attributes()));
  kernel.emit();
}

/// How many cells are averaged under the window of this tap.
double averaged_cells(const Window& window, const Tap& tap, const Attributes& attributes) {
  if (is_pytorch(attributes)) return static_cast<double>(window.rows.window * window.columns.window);
  return static_cast<double>(window.rows.real_cells(tap.out_row) * window.columns.real_cells(tap.out_column));
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  Array& y = c.result();
  const Window window = pooling_window(x.dims, c.attributes());
  for_each_pooled_cell(x.dims, y.dims, c.attributes(), [&](const Tap& tap, std::int64_t in, std::int64_t out) {
    y[out] += x[in] / averaged_cells(window, tap, c.attributes());
  });
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) {
  const std::string layout = c.operand("d_output").shape.layout;
  KernelBuilder kernel = c.kernel("pooling_backward");
  kernel.read("diff_dst", "d_output", layout).write("diff_src", "gradient", layout);
  set_pooling(kernel, algorithm_of(c.attributes()), pooling_window(c.result("gradient").shape.dims, c.attributes()));
  kernel.emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  Array& result = c.result("gradient");
  const Window window = pooling_window(result.dims, c.attributes());
  for_each_pooled_cell(result.dims, d.dims, c.attributes(), [&](const Tap& tap, std::int64_t in, std::int64_t out) {
    result[in] += d[out] / averaged_cells(window, tap, c.attributes());
  });
}
const OpDef average_pooling2d_gradient{
    .name = "average_pooling2d.gradient",
    .summary = "gradient of average_pooling2d",
    .equation = "d_input[cell] = sum over the windows on the cell of d_output / number of real cells under the window",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(average_pooling2d_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef average_pooling2d;
const OpDef average_pooling2d{
    .name = "average_pooling2d",
    .summary = "mean of the values under each window",
    .equation =
        "output[y, x] = mean over i, j of input[y · stride + i - top, x · stride + j - left], without the padding",
    .operands = {{"input"}},
    .attributes = pooling_attributes(),
    .constraints = pooling_constraints(),
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .pytorch = "padding counts as zeros in the mean",
    .examples = {{.name = "odd_size_valid", .inputs = {batched({5, 7, 3})}, .attributes = {{"pool_size", Dims{2, 2}}}},
                 {.name = "odd_size_same", .inputs = {batched({5, 7, 3})}, .attributes = {{"padding", "same"}}},
                 {.name = "same_with_uneven_padding",
                  .inputs = {batched({6, 4, 17})},
                  .attributes = {{"pool_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", "same"}}},
                 {.name = "profile_pytorch_counts_padding",
                  .inputs = {batched({6, 4, 3})},
                  .attributes = {{"numerics", std::string("pytorch")},
                                 {"pool_size", Dims{3, 3}},
                                 {"strides", Dims{2, 2}},
                                 {"padding", "same"}}},
                 {.name = "even_window_same",
                  .inputs = {batched({5, 6, 8})},
                  .attributes = {{"pool_size", Dims{2, 4}}, {"strides", Dims{1, 1}}, {"padding", "same"}}},
                 {.name = "overlapping",
                  .inputs = {batched({4, 5, 2})},
                  .attributes = {{"pool_size", Dims{3, 2}}, {"strides", Dims{1, 1}}}},
                 {.name = "strides_beyond_the_window",
                  .inputs = {batched({7, 8, 1})},
                  .attributes = {{"pool_size", Dims{2, 1}}, {"strides", Dims{3, 4}}}},
                 {.name = "explicit_padding",
                  .inputs = {batched({5, 4, 2})},
                  .attributes = {{"pool_size", Dims{3, 3}}, {"strides", Dims{2, 2}}, {"padding", Dims{1, 1, 0, 2}}}},
                 {.name = "window_covers_the_input",
                  .inputs = {batched({3, 4, 16})},
                  .attributes = {{"pool_size", Dims{3, 4}}}},
                 {.name = "single_cell",
                  .inputs = {batched({1, 1, 1})},
                  .attributes = {{"pool_size", Dims{1, 1}}},
                  .batch = 1}},
    .internals = {&average_pooling2d_gradient},
};

}  // namespace weir::ops
