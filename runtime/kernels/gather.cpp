// dst[row] = table[indices[row]]: rows of a table by number. An index outside the table gives NaN, so that it cannot
// pass unseen; the session refuses it before.
#include <algorithm>
#include <limits>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class Gather final : public Executable {
 public:
  Gather(const Recipe& recipe, std::span<void* const> buffers)
      : table_(pointer<const float>(recipe, buffers, "table")),
        indices_(pointer<const std::int32_t>(recipe, buffers, "indices")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        count_(recipe.operand("table").shape.dims[0]),
        width_(recipe.operand("table").shape.dims[1]),
        blocks_(recipe.operand("indices").shape.dims[0], std::max<std::int64_t>(1, 16384 / width_)),
        threads_(recipe.threads) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) copy(row);
    });
  }

 private:
  void copy(std::int64_t row) const {
    const std::int64_t index = indices_[row];
    if (index < 0 || index >= count_)
      std::fill_n(dst_ + row * width_, width_, std::numeric_limits<float>::quiet_NaN());
    else
      std::copy_n(table_ + index * width_, width_, dst_ + row * width_);
  }

  const float* table_;
  const std::int32_t* indices_;
  float* dst_;
  std::int64_t count_, width_;
  Blocks blocks_;
  int threads_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"table"}, {"indices", Access::read, DType::i32}, {"dst", Access::write}};
  check_operands(recipe, rules);
  check_attribute_names(recipe, {});
  for (const char* role : {"table", "indices", "dst"}) check_dense(recipe, role);
  const Dims &table = recipe.operand("table").shape.dims, &indices = recipe.operand("indices").shape.dims;
  if (table.size() != 2 || indices.size() != 1) reject(recipe, "it needs a table of rows and a list of indices");
  if (recipe.operand("dst").shape.dims != Dims{indices[0], table[1]})
    reject(recipe, "dst must have a row of the table for each index");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Gather>(recipe, buffers);
}

}  // namespace

extern const KernelDef gather;
const KernelDef gather{
    .name = "gather", .summary = "rows of a table by number", .validate = validate, .create = create};

}  // namespace weir::kernels
