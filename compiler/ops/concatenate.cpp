// The inputs one behind the other along one axis. The gradient of an input is its slice of the output's.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

/// Position of a negative axis in dims.
std::size_t position(const Dims& dims, std::int64_t axis) {
  return static_cast<std::size_t>(static_cast<std::int64_t>(dims.size()) + axis);
}

bool fits(const TensorType& first, const TensorType& other, std::size_t axis) {
  if (first.dtype != other.dtype || first.dims.size() != other.dims.size()) return false;
  Dims dims = other.dims;
  dims[axis] = first.dims[axis];
  return dims == first.dims;
}

void infer(InferContext& c) {
  const std::vector<TensorType> inputs = c.variadic("input");
  if (inputs.size() < 2) c.fail(1, "concatenate needs at least two inputs, but \"from\" names one");
  TensorType type = inputs[0];
  const std::int64_t axis = c.attributes().integer("axis"), rank = static_cast<std::int64_t>(type.dims.size());
  if (axis < -rank)
    c.fail(2, "axis is " + std::to_string(axis) + ", but the inputs have " + std::to_string(rank) +
                  " axes besides the batch: " + to_string(type));
  const std::size_t at = position(type.dims, axis);
  for (std::size_t i = 1; i < inputs.size(); ++i) {
    if (!fits(type, inputs[i], at))
      c.fail(3, "concatenate needs inputs of one shape but for axis " + std::to_string(axis) + "; the first is " +
                    to_string(inputs[0]) + " and number " + std::to_string(i + 1) + " is " + to_string(inputs[i]));
    type.dims[at] += inputs[i].dims[at];
  }
  c.result("output", type);
}

void lower(LowerContext& c) {
  const Shape out = c.result("output").shape;
  KernelBuilder kernel = c.kernel("concatenate");
  for (std::size_t i = 0; i < c.operand_count(); ++i)
    kernel.read("src_" + std::to_string(i), c.operand_name(i), out.axes);
  const auto axis = static_cast<std::int64_t>(position(out.dims, c.attributes().integer("axis")));
  kernel.write("dst", "output", out.axes).set("axis", axis).emit();
}

/// A tensor as [outer, along the axis and behind it].
struct Rows {
  std::int64_t outer, length;
};
Rows rows_at(const Dims& dims, std::size_t axis) {
  const std::int64_t outer = element_count({dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axis)});
  return {outer, outer ? element_count(dims) / outer : 0};
}

void reference(ReferenceContext& c) {
  Array& y = c.result();
  const std::size_t axis = position(y.dims, c.attributes().integer("axis"));
  const Rows out = rows_at(y.dims, axis);
  std::int64_t start = 0;
  for (std::size_t operand = 0; operand < c.operand_count(); ++operand) {
    const Array& x = c.operand(operand);
    const std::int64_t length = rows_at(x.dims, axis).length;
    for (std::int64_t i = 0; i < x.count(); ++i) y[i / length * out.length + start + i % length] = x[i];
    start += length;
  }
}

/// Its attributes: axis, and start and size of the slice.
void slice_infer(InferContext& c) {
  TensorType type = c.operand("d_output");
  type.dims[position(type.dims, c.attributes().integer("axis"))] = c.attributes().integer("size");
  c.result("gradient", type);
}
void slice_lower(LowerContext& c) {
  const Shape from = c.operand("d_output").shape;
  c.kernel("slice")
      .read("src", "d_output", from.axes)
      .write("dst", "gradient", from.axes)
      .set("axis", static_cast<std::int64_t>(position(from.dims, c.attributes().integer("axis"))))
      .set("start", c.attributes().integer("start"))
      .emit();
}
void slice_reference(ReferenceContext& c) {
  const Array& d = c.operand("d_output");
  Array& result = c.result("gradient");
  const std::size_t axis = position(d.dims, c.attributes().integer("axis"));
  const std::int64_t from = rows_at(d.dims, axis).length, length = rows_at(result.dims, axis).length;
  const std::int64_t start = c.attributes().integer("start") * (length / result.dims[axis]);
  for (std::int64_t i = 0; i < result.count(); ++i) result[i] = d[i / length * from + start + i % length];
}
const OpDef concatenate_gradient{
    .name = "concatenate.gradient",
    .summary = "gradient of concatenate by one input",
    .equation = "d_input = d_output from start to start + size along the axis",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = slice_infer,
    .no_gradient = true,
    .lower = slice_lower,
    .reference = slice_reference,
};

void gradient(GradientContext& c) {
  const std::int64_t axis = c.attributes().integer("axis");
  std::int64_t start = 0;
  for (std::size_t i = 0; i < c.operand_count(); ++i) {
    const Dims& dims = c.type(c.operand(i)).dims;
    const std::int64_t size = dims[position(dims, axis)];
    if (c.wants(i))
      c.set(i, c.emit(concatenate_gradient, {c.gradient()}, {{"axis", axis}, {"start", start}, {"size", size}})[0]);
    start += size;
  }
}

}  // namespace

extern const OpDef concatenate;
const OpDef concatenate{
    .name = "concatenate",
    .summary = "nodes one behind the other along an axis",
    .equation = "output = input_0, input_1, … along the axis",
    .operands = {{"input", OperandKind::variadic}},
    .attributes = {{.name = "axis",
                    .type = AttributeType::axis,
                    .doc = "axis along which the inputs are joined",
                    .standard = std::int64_t{-1}}},
    .constraints = {"C1: there are at least two inputs", "C2: the axis exists, and is not the batch",
                    "C3: all inputs have the same shape but for the axis"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "channels", .inputs = {batched({3, 2, 1}), batched({3, 2, 16})}},
                 {.name = "three_rows", .inputs = {batched({2}), batched({1}), batched({4})}},
                 {.name = "along_the_width",
                  .inputs = {batched({2, 1, 3}), batched({2, 4, 3})},
                  .attributes = {{"axis", -2}}},
                 {.name = "along_the_height",
                  .inputs = {batched({1, 2, 2}), batched({3, 2, 2}), batched({1, 2, 2})},
                  .attributes = {{"axis", -3}}},
                 {.name = "ones", .inputs = {batched({1}), batched({1})}, .batch = 1}},
    .internals = {&concatenate_gradient},
};

}  // namespace weir::ops
