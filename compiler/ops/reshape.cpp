// The same values of a sample, in the same canonical order, under other dimensions. No data moves.
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

/// The product of the sizes that are given, where it divides `total`; else 0. Stops before it can overflow.
std::int64_t known_product(const Dims& target, std::int64_t total) {
  std::int64_t product = 1;
  for (std::int64_t size : target) {
    if (size == -1) continue;
    if (size > total / product) return 0;
    product *= size;
  }
  return total % product == 0 ? product : 0;
}

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  Dims target = c.attributes().integers("target_shape");
  std::int64_t* open = nullptr;
  for (std::int64_t& size : target) {
    if (size == 0 || size < -1 || (size == -1 && open))
      c.fail(1,
             "target_shape is " + to_string(target) + ", but its sizes must be 1 or more, and at most one of them -1");
    if (size == -1) open = &size;
  }
  const std::int64_t total = element_count(type.dims), known = known_product(target, total);
  if (known == 0 || (!open && known != total))
    c.fail(2, "target_shape " + to_string(target) + " cannot hold the " + std::to_string(total) +
                  " values of a sample of the input " + to_string(type));
  if (open) *open = total / known;
  type.dims = target;
  c.result("output", type);
}

void lower(LowerContext& c) { c.alias("output", "input"); }

void reference(ReferenceContext& c) { c.result().data = c.operand("input").data; }

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("input")); }
void gradient_lower(LowerContext& c) { c.alias("gradient", "d_output"); }
void gradient_reference(ReferenceContext& c) { c.result("gradient").data = c.operand("d_output").data; }
const OpDef reshape_gradient{
    .name = "reshape.gradient",
    .summary = "gradient of reshape",
    .equation = "d_input = d_output in the shape of the input",
    .role = Role::internal,
    .operands = {{"d_output"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) { c.set("input", c.emit(reshape_gradient, {c.gradient()})[0]); }

}  // namespace

extern const OpDef reshape;
const OpDef reshape{
    .name = "reshape",
    .summary = "the values of a sample under other dimensions",
    .equation = "output = input in target_shape, row by row",
    .operands = {{"input"}},
    .attributes = {{.name = "target_shape",
                    .type = AttributeType::integers,
                    .doc = "dimensions without the batch; one of them may be -1: what is left",
                    .least = -1}},
    .constraints = {"C1: sizes are 1 or more, at most one is -1", "C2: the input has as many values as target_shape"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .carries_integers = true,
    .examples =
        {{.name = "row_to_image", .inputs = {batched({30})}, .attributes = {{"target_shape", Dims{2, 3, 5}}}},
         {.name = "image_to_matrix", .inputs = {batched({2, 3, 16})}, .attributes = {{"target_shape", Dims{8, 12}}}},
         {.name = "open_size", .inputs = {batched({2, 6})}, .attributes = {{"target_shape", Dims{3, -1, 2}}}},
         {.name = "open_size_of_one",
          .inputs = {batched({7})},
          .attributes = {{"target_shape", Dims{-1, 7}}},
          .batch = 1},
         {.name = "integers", .inputs = {batched({6}, DType::i32)}, .attributes = {{"target_shape", Dims{2, 3}}}},
         {.name = "number_to_row", .inputs = {batched({})}, .attributes = {{"target_shape", Dims{1}}}}},
    .internals = {&reshape_gradient},
};

}  // namespace weir::ops
