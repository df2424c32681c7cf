// output = input_0 + input_1 + …: each input's gradient is the output's.
#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"

namespace weir::ops {
namespace {

constexpr std::size_t most_inputs = 26;  // one letter each in the kernel's expression

void infer(InferContext& c) {
  const std::vector<TensorType> inputs = c.variadic("input");
  if (inputs.size() < 2 || inputs.size() > most_inputs)
    c.fail(1, "add needs 2 to " + std::to_string(most_inputs) + " inputs, but \"from\" names " +
                  std::to_string(inputs.size()));
  for (std::size_t i = 1; i < inputs.size(); ++i)
    if (inputs[i] != inputs[0])
      c.fail(2, "add needs inputs of one shape, but the first is " + to_string(inputs[0]) + " and number " +
                    std::to_string(i + 1) + " is " + to_string(inputs[i]));
  c.result("output", inputs[0]);
}

void gradient(GradientContext& c) {
  for (std::size_t i = 0; i < c.operand_count(); ++i)
    if (c.wants(i)) c.set(i, c.gradient());
}

/// The sum, and then what stands behind it.
std::string followed_by(const OpDef* activation, const std::string& sum) {
  if (!activation) return sum;
  if (activation->post_op == "relu") return "max(" + sum + ", 0)";
  if (activation->post_op == "relu6") return "min(max(" + sum + ", 0), 6)";
  if (activation->post_op == "tanh") return "tanh(" + sum + ")";
  WEIR_CHECK(activation->post_op == "logistic", "add cannot be followed by " + std::string(activation->post_op));
  return "sigmoid(" + sum + ")";
}

void lower(LowerContext& c) {
  const std::string layout = c.operand(c.operand_name(0)).shape.layout;
  KernelBuilder kernel = c.kernel("pointwise");
  std::string expression;
  for (std::size_t i = 0; i < c.operand_count(); ++i) {
    const std::string role(1, static_cast<char>('a' + i));
    kernel.read(role, c.operand_name(i), layout);
    expression += (i ? " + " : "") + role;
  }
  kernel.write("out", "output", layout).set("expression", followed_by(c.node().post_op, expression)).emit();
}

void reference(ReferenceContext& c) {
  for (std::size_t operand = 0; operand < c.operand_count(); ++operand)
    for (std::int64_t i = 0; i < c.result().count(); ++i) c.result()[i] += c.operand(operand)[i];
}

}  // namespace

extern const OpDef add;
const OpDef add{
    .name = "add",
    .summary = "sum of nodes of equal shape",
    .equation = "output = sum over k of input_k",
    .operands = {{"input", OperandKind::variadic}},
    .constraints = {"C1: there are 2 to 26 inputs", "C2: all inputs have the same shape"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .accepts_post_op = true,
    .sums = true,
    .examples = {{.name = "two_rows", .inputs = {batched({5}), batched({5})}},
                 {.name = "three_images", .inputs = {batched({3, 2, 16}), batched({3, 2, 16}), batched({3, 2, 16})}},
                 {.name = "four", .inputs = {batched({3, 7}), batched({3, 7}), batched({3, 7}), batched({3, 7})}},
                 {.name = "numbers", .inputs = {batched({}), batched({})}, .batch = 1}},
};

}  // namespace weir::ops
