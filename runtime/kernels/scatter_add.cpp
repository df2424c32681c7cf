// table[i] = sum of src[row] over the rows with indices[row] = i: the gradient of gather. Every entry of the table is
// added up in the order of the rows, whoever computes it, so the threads share out columns. Indices outside are
// skipped.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class ScatterAdd final : public Executable {
 public:
  ScatterAdd(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        indices_(pointer<const std::int32_t>(recipe, buffers, "indices")),
        table_(pointer<float>(recipe, buffers, "table")),
        rows_(recipe.operand("indices").shape.dims[0]),
        count_(recipe.operand("table").shape.dims[0]),
        width_(recipe.operand("table").shape.dims[1]),
        columns_(width_, 16),
        threads_(recipe.threads) {}

  void run() override {
    columns_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = 0; i < count_; ++i) std::fill(table_ + i * width_ + begin, table_ + i * width_ + end, 0.0f);
      for (std::int64_t row = 0; row < rows_; ++row) add(row, begin, end);
    });
  }

 private:
  void add(std::int64_t row, std::int64_t begin, std::int64_t end) const {
    const std::int64_t index = indices_[row];
    if (index < 0 || index >= count_) return;
    const float* from = src_ + row * width_;
    float* to = table_ + index * width_;
    for (std::int64_t column = begin; column < end; ++column) to[column] += from[column];
  }

  const float* src_;
  const std::int32_t* indices_;
  float* table_;
  std::int64_t rows_, count_, width_;
  Blocks columns_;
  int threads_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"src"}, {"indices", Access::read, DType::i32}, {"table", Access::write}};
  check_operands(recipe, rules);
  check_attribute_names(recipe, {});
  for (const char* role : {"src", "indices", "table"}) check_dense(recipe, role);
  const Dims &table = recipe.operand("table").shape.dims, &indices = recipe.operand("indices").shape.dims;
  if (table.size() != 2 || indices.size() != 1) reject(recipe, "it needs a table of rows and a list of indices");
  if (recipe.operand("src").shape.dims != Dims{indices[0], table[1]})
    reject(recipe, "src must have a row of the table for each index");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ScatterAdd>(recipe, buffers);
}

}  // namespace

extern const KernelDef scatter_add;
const KernelDef scatter_add{
    .name = "scatter_add", .summary = "rows added into a table by number", .validate = validate, .create = create};

}  // namespace weir::kernels
