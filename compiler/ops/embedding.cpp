// output = the row of the table that the input names: [B, …] of numbers to [B, …, output_dim]. The gradient of a row is
// the sum over its uses (as PyTorch's dense one; Keras on TensorFlow hands each use to Adam on its own).
#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

void infer(InferContext& c) {
  TensorType type = c.operand("input");
  if (type.dtype != DType::i32)
    c.fail(1, "embedding needs an i32 input of numbers, but its input is " + to_string(type));
  const std::int64_t count = c.attributes().integer("input_dim"), width = c.attributes().integer("output_dim");
  c.parameter("embeddings", {count, width}, "io");
  type.dims.push_back(width);
  type.dtype = DType::f32;
  c.result("output", type);
}

/// All rows, whatever axes they have.
std::int64_t row_count(const Shape& indices) { return element_count(indices.dims); }

void lower(LowerContext& c) {
  const std::int64_t rows = row_count(c.operand("input").shape);
  c.kernel("gather")
      .read("table", "embeddings", "io")
      .read_as("indices", "input", {rows}, "n")
      .write_as("dst", "output", {rows, c.attributes().integer("output_dim")}, "nc")
      .emit();
}

void reference(ReferenceContext& c) {
  const Array &indices = c.operand("input"), &table = c.operand("embeddings");
  const std::int64_t width = table.dims[1];
  for (std::int64_t i = 0; i < c.result().count(); ++i)
    c.result()[i] = table[static_cast<std::int64_t>(indices[i / width]) * width + i % width];
}

void gradient_infer(InferContext& c) { c.result("gradient", c.forward_operand("embeddings")); }
void gradient_lower(LowerContext& c) {
  const std::int64_t rows = row_count(c.operand("input").shape);
  c.kernel("scatter_add")
      .read_as("src", "d_output", {rows, c.attributes().integer("output_dim")}, "nc")
      .read_as("indices", "input", {rows}, "n")
      .write("table", "gradient", "io")
      .emit();
}
void gradient_reference(ReferenceContext& c) {
  const Array &indices = c.operand("input"), &d = c.operand("d_output");
  Array& result = c.result("gradient");
  const std::int64_t width = result.dims[1];
  for (std::int64_t i = 0; i < d.count(); ++i)
    result[static_cast<std::int64_t>(indices[i / width]) * width + i % width] += d[i];
}
const OpDef embedding_gradient{
    .name = "embedding.gradient",
    .summary = "gradient of embedding by its table",
    .equation = "d_embeddings[i] = sum of d_output over the places where input = i",
    .role = Role::internal,
    .operands = {{"d_output"}, {"input"}},
    .results = {"gradient"},
    .infer = gradient_infer,
    .no_gradient = true,
    .lower = gradient_lower,
    .reference = gradient_reference,
};

void gradient(GradientContext& c) {
  if (c.wants("embeddings")) c.set("embeddings", c.emit(embedding_gradient, {c.gradient(), c.operand("input")})[0]);
}

/// Operand 0 holds numbers of rows, one of them often.
double rows_of_the_table(std::size_t operand, std::int64_t element) {
  if (operand == 0) return static_cast<double>(element % 3 == 0 ? 1 : element * 5 % 4);
  return static_cast<double>(element * 7 % 11) / 4 - 1;
}

}  // namespace

extern const OpDef embedding;
const OpDef embedding{
    .name = "embedding",
    .summary = "a learned row for each number",
    .equation = "output = embeddings[input]",
    .operands = {{"input"}, {"embeddings", OperandKind::parameter}},
    .attributes = {{.name = "input_dim",
                    .type = AttributeType::integer,
                    .doc = "rows of the table: the input holds 0 to input_dim - 1",
                    .least = 1},
                   {.name = "output_dim", .type = AttributeType::integer, .doc = "size of a row", .least = 1},
                   {.name = "embeddings_initializer",
                    .type = AttributeType::initializer,
                    .doc = "first value of the table",
                    .standard = Initializer{"random_uniform", {}, {}}}},
    .constraints = {"C1: the input is i32"},
    .infer = infer,
    .gradient = gradient,
    .lower = lower,
    .reference = reference,
    .index_bound = "input_dim",
    .examples = {{.name = "words",
                  .inputs = {batched({5}, DType::i32)},
                  .attributes = {{"input_dim", std::int64_t{4}}, {"output_dim", std::int64_t{3}}},
                  .fill = rows_of_the_table},
                 {.name = "one_number",
                  .inputs = {batched({}, DType::i32)},
                  .attributes = {{"input_dim", std::int64_t{4}}, {"output_dim", std::int64_t{17}}},
                  .fill = rows_of_the_table,
                  .batch = 1},
                 {.name = "grid",
                  .inputs = {batched({2, 3}, DType::i32)},
                  .attributes = {{"input_dim", std::int64_t{5}}, {"output_dim", std::int64_t{1}}},
                  .fill = rows_of_the_table}},
    .internals = {&embedding_gradient},
};

}  // namespace weir::ops
