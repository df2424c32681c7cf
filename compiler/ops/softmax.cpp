// y_i = e^(x_i) / sum over j of e^(x_j) over the last axis, computed from x - max(x), which cannot overflow.
#include <algorithm>
#include <cmath>

#include "compiler/ir/op.hpp"
#include "compiler/ops/rows.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const TensorType& type = c.operand("input");
  if (type.dims.empty())
    c.fail(1, "softmax needs a class axis, but its input is " + to_string(type) +
                  "; for one number a sample take sigmoid");
  if (const std::int64_t axis = c.attributes().integer("axis"); axis != -1)
    c.fail(2, "axis is " + std::to_string(axis) + ", but only -1, the last axis, is supported yet");
  c.result("output", type);
}

void lower(LowerContext& c) {
  const Dims rows = rows_of(c.operand("input").shape);
  c.kernel("softmax_forward").read_as("src", "input", rows, "nc").write_as("dst", "output", rows, "nc").emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  Array& y = c.result();
  const std::int64_t classes = x.dims.back();
  for (std::int64_t first = 0; first < x.count(); first += classes) {
    const double largest = *std::max_element(x.data.begin() + first, x.data.begin() + first + classes);
    double sum = 0;
    for (std::int64_t i = first; i < first + classes; ++i) sum += y[i] = std::exp(x[i] - largest);
    for (std::int64_t i = first; i < first + classes; ++i) y[i] /= sum;
  }
}

void gradient_infer(InferContext& c) { c.result("gradient", c.operand("output")); }
void gradient_lower(LowerContext& c) {
  const Dims rows = rows_of(c.operand("output").shape);
  c.kernel("softmax_backward")
      .read_as("dst", "output", rows, "nc")
      .read_as("diff_dst", "d_output", rows, "nc")
      .write_as("diff_src", "gradient", rows, "nc")
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &y = c.operand("output"), &d = c.operand("d_output");
  const std::int64_t classes = y.dims.back();
  for (std::int64_t first = 0; first < y.count(); first += classes) {
    double mean = 0;  // of d_output, weighted by the probabilities
    for (std::int64_t i = first; i < first + classes; ++i) mean += d[i] * y[i];
    for (std::int64_t i = first; i < first + classes; ++i) c.result("gradient")[i] = y[i] * (d[i] - mean);
  }
}
const OpDef softmax_gradient{
    .name = "softmax.gradient",
    .summary = "gradient of softmax",
    .equation = "d_input = output · (d_output - sum over the last axis of d_output · output)",
    .role = Role::internal,
    .operands = {{"d_output"}, {"output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(softmax_gradient, {c.gradient(), c.result("output")})[0]); }

/// Rows whose exponentials overflow or vanish in f32 unless the largest is taken off first.
double large(std::size_t, std::int64_t element) {
  return element % 2 ? 1000.0 - static_cast<double>(element) / 2 : -1000.0;
}

}  // namespace

extern const OpDef softmax;
const OpDef softmax{
    .name = "softmax",
    .summary = "probabilities over the last axis",
    .equation = "output = exp(input) / sum over the last axis of exp(input)",
    .operands = {{"input"}},
    .attributes =
        {{.name = "axis", .type = AttributeType::axis, .doc = "axis of the classes", .standard = std::int64_t{-1}}},
    .constraints = {"C1: the input has at least one axis besides the batch", "C2: axis is -1"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .activation = true,
    .sums_to_one = true,
    .examples = {{.name = "rows", .inputs = {batched({10})}},
                 {.name = "image", .inputs = {batched({3, 2, 17})}},
                 {.name = "sequence", .inputs = {batched({4, 3})}, .batch = 1},
                 {.name = "one_class", .inputs = {batched({1})}},
                 {.name = "equal_values",
                  .inputs = {batched({4})},
                  .fill = [](std::size_t, std::int64_t) { return 3.0; }},
                 {.name = "large_values",
                  .inputs = {batched({5})},
                  .fill = large,
                  .tolerance = 1e-3}},  // a logit of 1000 is known to 6e-5 in f32, and the primitive's result no better
    .internals = {&softmax_gradient},
};

}  // namespace weir::ops
