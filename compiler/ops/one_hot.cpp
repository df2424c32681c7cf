// output[…, c] = 1 where the class is c, else 0: for losses that read a one-hot tensor. A class outside the axis gives
// zeros.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("classes");
  if (type.dtype != DType::i32) c.fail(1, "one_hot needs i32 classes, but the target is " + to_string(type));
  type.dims.push_back(c.attributes().integer("one_hot"));
  type.dtype = DType::f32;
  c.result("output", type);
}

void lower(LowerContext& c) {
  const Shape shape = c.operand("classes").shape;
  c.kernel("one_hot").read("classes", "classes", shape.axes).write("dst", "output").emit();
}

void reference(ReferenceContext& c) {
  const Array& classes = c.operand("classes");
  Array& output = c.result();
  const std::int64_t count = output.dims.back();
  for (std::int64_t i = 0; i < output.count(); ++i)
    output[i] = classes[i / count] == static_cast<double>(i % count) ? 1 : 0;
}

double outside_too(std::size_t, std::int64_t i) { return static_cast<double>(i % 5) - 1; }

}  // namespace

extern const OpDef one_hot;
const OpDef one_hot{
    .name = "one_hot",
    .summary = "classes to rows of zeros with a one",
    .equation = "output[c] = 1 where classes = c, else 0",
    .role = Role::internal,
    .operands = {{"classes"}},
    .attributes = {{.name = "one_hot", .type = AttributeType::integer, .doc = "size of the class axis", .least = 1}},
    .constraints = {"C1: the classes are i32"},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "labels",
                  .inputs = {batched({}, DType::i32)},
                  .attributes = {{"one_hot", std::int64_t{3}}},
                  .batch = 4},
                 {.name = "outside",
                  .inputs = {batched({2}, DType::i32)},
                  .attributes = {{"one_hot", std::int64_t{3}}},
                  .fill = outside_too}},
};

}  // namespace weir::ops
