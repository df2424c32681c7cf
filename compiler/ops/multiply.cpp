// output = input_0 · input_1 · …, entry by entry; the gradient of an input is the output's times all other inputs,
// which holds at zeros too. A node that stands twice is two inputs, so that [x, x] is x² with the gradient 2x.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

constexpr std::size_t most_inputs = 26;  // one letter each in the kernel's expression

void infer(InferContext& c) {
  const std::vector<TensorType> inputs = c.variadic("input");
  if (inputs.size() < 2 || inputs.size() > most_inputs)
    c.fail(1, "multiply needs 2 to " + std::to_string(most_inputs) + " inputs, but \"from\" names " +
                  std::to_string(inputs.size()));
  for (std::size_t i = 1; i < inputs.size(); ++i)
    if (inputs[i] != inputs[0])
      c.fail(2, "multiply needs inputs of one shape, but the first is " + to_string(inputs[0]) + " and number " +
                    std::to_string(i + 1) + " is " + to_string(inputs[i]));
  c.result("output", inputs[0]);
}

void lower(LowerContext& c) {
  const std::string layout = c.operand(c.operand_name(0)).shape.layout;
  KernelBuilder kernel = c.kernel("pointwise");
  std::string expression;
  for (std::size_t i = 0; i < c.operand_count(); ++i) {
    const std::string role(1, static_cast<char>('a' + i));
    kernel.read(role, c.operand_name(i), layout);
    expression += (i ? " * " : "") + role;
  }
  kernel.write("out", c.node().op->results[0], layout).set("expression", expression).emit();
}

void reference(ReferenceContext& c) {
  Array& output = c.result(c.node().op->results[0]);
  for (double& entry : output.data) entry = 1;
  for (std::size_t operand = 0; operand < c.operand_count(); ++operand)
    for (std::int64_t i = 0; i < output.count(); ++i) output[i] *= c.operand(operand)[i];
}

void gradient_infer(InferContext& c) { c.result("gradient", c.variadic("factor").front()); }
const OpDef multiply_gradient{
    .name = "multiply.gradient",
    .summary = "gradient of a product by one of its inputs",
    .equation = "gradient = d_output · product of the other inputs",
    .role = Role::internal,
    .operands = {{"factor", OperandKind::variadic}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
};

void gradient(GradientContext& c) {
  for (std::size_t i = 0; i < c.operand_count(); ++i) {
    if (!c.wants(i)) continue;
    std::vector<ValueId> factors{c.gradient()};
    for (std::size_t other = 0; other < c.operand_count(); ++other)
      if (other != i) factors.push_back(c.operand(other));
    c.set(i, c.emit(multiply_gradient, factors)[0]);
  }
}

}  // namespace

extern const OpDef multiply;
const OpDef multiply{
    .name = "multiply",
    .summary = "product of nodes of equal shape",
    .equation = "output = product over k of input_k",
    .operands = {{"input", OperandKind::variadic}},
    .constraints = {"C1: there are 2 to 26 inputs", "C2: all inputs have the same shape"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "two_rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "three_images", .inputs = {batched({3, 2, 16}), batched({3, 2, 16}), batched({3, 2, 16})}},
                 {.name = "numbers", .inputs = {batched({}), batched({})}, .batch = 1}},
    .internals = {&multiply_gradient},
};

}  // namespace weir::ops
