// dst[n, c, r] = src[n, r, c]: the last two axes change places. Dense; f32 or i32.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class SwapAxes final : public Executable {
 public:
  SwapAxes(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const std::uint32_t>(recipe, buffers, "src")),
        dst_(pointer<std::uint32_t>(recipe, buffers, "dst")),
        rows_(recipe.operand("src").shape.dims[1]),
        columns_(recipe.operand("src").shape.dims[2]),
        written_(recipe.operand("src").shape.dims[0] * columns_, 16384 / std::min<std::int64_t>(rows_, 16384)),
        threads_(recipe.threads) {}

  void run() override {
    written_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::uint32_t* column = src_ + i / columns_ * rows_ * columns_ + i % columns_;
        for (std::int64_t row = 0; row < rows_; ++row) dst_[i * rows_ + row] = column[row * columns_];
      }
    });
  }

 private:
  const std::uint32_t* src_;
  std::uint32_t* dst_;
  std::int64_t rows_, columns_;
  Blocks written_;  ///< rows of the result
  int threads_;
};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  const RecipeOperand* dst = recipe.find("dst");
  const DType type = dst && dst->dtype == DType::i32 ? DType::i32 : DType::f32;
  const OperandRule operands[] = {{"src", Access::read, type}, {"dst", Access::write, type}};
  check_operands(recipe, operands);
  check_dense(recipe, "src");
  check_dense(recipe, "dst");
  const Dims &from = recipe.operand("src").shape.dims, &to = recipe.operand("dst").shape.dims;
  if (from.size() != 3 || to != Dims{from[0], from[2], from[1]})
    reject(recipe, "the operands must be [n, rows, columns] and [n, columns, rows]");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<SwapAxes>(recipe, buffers);
}

}  // namespace

extern const KernelDef swap_axes;
const KernelDef swap_axes{
    .name = "swap_axes",
    .summary = "the last two axes change places",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
