// Sum of what the consumers of a value contribute to its gradient, in operand order: the order is part of the bits.
#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  const std::vector<TensorType> terms = c.variadic("terms");
  WEIR_CHECK(!terms.empty() && terms.size() <= 26,
             "add_gradients takes 1 to 26 terms");  // one letter each in the expression
  for (const TensorType& term : terms)
    WEIR_CHECK(term == terms[0], "add_gradients over " + to_string(terms[0]) + " and " + to_string(term));
  c.result("output", terms[0]);
}

void lower(LowerContext& c) {
  const Shape shape = c.operand(c.operand_name(0)).shape;  // may be a view, as of a grouped kernel
  KernelBuilder kernel = c.kernel("pointwise");
  std::string expression;
  for (std::size_t i = 0; i < c.operand_count(); ++i) {
    const std::string role(1, static_cast<char>('a' + i));
    kernel.read_as(role, c.operand_name(i), shape.dims, shape.axes, shape.layout);
    expression += (i ? " + " : "") + role;
  }
  kernel.write_as("out", "output", shape.dims, shape.axes, shape.layout).set("expression", expression).emit();
}

void reference(ReferenceContext& c) {
  Array& output = c.result();
  for (std::size_t term = 0; term < c.operand_count(); ++term)
    for (std::int64_t i = 0; i < output.count(); ++i) output[i] += c.operand(term)[i];
}

}  // namespace

extern const OpDef add_gradients;
const OpDef add_gradients{
    .name = "add_gradients",
    .summary = "sum of gradient contributions",
    .equation = "output = sum over k of terms_k, from the first to the last",
    .role = Role::internal,
    .operands = {{"terms", OperandKind::variadic}},
    .constraints = {"C1: all terms have the same shape"},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "two", .inputs = {batched({5}), batched({5})}},
                 {.name = "three_images", .inputs = {batched({3, 2, 16}), batched({3, 2, 16}), batched({3, 2, 16})}},
                 {.name = "parameter", .inputs = {unbatched({3, 4}), unbatched({3, 4})}}},
};

}  // namespace weir::ops
