// output = input with `axis` moved behind all others, or with `back` the last axis moved to where `axis` is: a loss
// along another axis than the last reads its operands so. The gradient moves back.
#include <algorithm>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

/// Of the axis, counted from the front within one sample.
std::ptrdiff_t place(const Attributes& attributes, const Dims& dims) {
  return static_cast<std::ptrdiff_t>(dims.size()) + attributes.integer("axis");
}
bool goes_back(const Attributes& attributes) { return attributes.flag("back"); }

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  const std::ptrdiff_t at = place(c.attributes(), type.dims);
  if (at < 0) c.fail(1, "axis " + std::to_string(c.attributes().integer("axis")) + " is no axis of " + to_string(type));
  const auto axis = type.dims.begin() + at, end = type.dims.end();
  if (goes_back(c.attributes()))
    std::rotate(axis, end - 1, end);
  else
    std::rotate(axis, axis + 1, end);
  c.result("output", type);
}

/// What stands before the two groups of axes that change places, and their extents.
Dims groups(const Attributes& attributes, const Dims& dims, std::int64_t batch) {
  const std::ptrdiff_t at = place(attributes, dims);
  const Dims before(dims.begin(), dims.begin() + at), behind(dims.begin() + at, dims.end());
  const std::int64_t moved = goes_back(attributes) ? behind.back() : behind.front();
  const std::int64_t others = element_count(behind) / moved;
  return {batch * element_count(before), goes_back(attributes) ? others : moved,
          goes_back(attributes) ? moved : others};
}

Dims of_one_sample(const Dims& dims) { return {dims.begin() + 1, dims.end()}; }

void lower(LowerContext& c) {
  const Dims from = groups(c.attributes(), of_one_sample(c.operand("input").shape.dims), c.batch());
  c.kernel("swap_axes")
      .read_as("src", "input", from, "nwc")
      .write_as("dst", "output", {from[0], from[2], from[1]}, "nwc")
      .emit();
}

void reference(ReferenceContext& c) {
  const Array& x = c.operand("input");
  const Dims from = groups(c.attributes(), of_one_sample(x.dims), c.batch());
  for (std::int64_t n = 0; n < from[0]; ++n)
    for (std::int64_t row = 0; row < from[1]; ++row)
      for (std::int64_t column = 0; column < from[2]; ++column)
        c.result()[(n * from[2] + column) * from[1] + row] = x[(n * from[1] + row) * from[2] + column];
}

void gradient(GradientContext& c);

}  // namespace

extern const OpDef move_axis;
const OpDef move_axis{
    .name = "move_axis",
    .summary = "an axis moved behind all others, or back",
    .equation = "output = input with its axes in another order",
    .role = Role::internal,
    .operands = {{"input"}},
    .attributes = {{.name = "axis", .type = AttributeType::axis, .doc = "the axis", .most = -1},
                   {.name = "back", .type = AttributeType::flag, .doc = "from the end to the axis", .standard = false}},
    .constraints = {"C1: the input has the axis"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .carries_integers = true,
    .examples =
        {{.name = "first", .inputs = {batched({2, 3, 5})}, .attributes = {{"axis", std::int64_t{-3}}}},
         {.name = "middle", .inputs = {batched({2, 3, 5})}, .attributes = {{"axis", std::int64_t{-2}}}},
         {.name = "integers", .inputs = {batched({4, 3}, DType::i32)}, .attributes = {{"axis", std::int64_t{-2}}}},
         {.name = "back", .inputs = {batched({2, 3, 5})}, .attributes = {{"axis", std::int64_t{-3}}, {"back", true}}},
         {.name = "one", .inputs = {batched({1, 3})}, .attributes = {{"axis", std::int64_t{-2}}}, .batch = 1}},
};

namespace {

void gradient(GradientContext& c) {
  const bool back = goes_back(c.attributes());
  const ValueId moved =
      c.emit(move_axis, {c.gradient()}, {{"axis", c.attributes().integer("axis")}, {"back", !back}})[0];
  c.set("input", moved);
}

}  // namespace

}  // namespace weir::ops
