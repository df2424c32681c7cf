// dst[row, c] = 1 where classes[row] = c, else 0. A class outside the axis gives a row of zeros.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class OneHot final : public Executable {
 public:
  OneHot(const Recipe& recipe, std::span<void* const> buffers)
      : classes_(pointer<const std::int32_t>(recipe, buffers, "classes")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        rows_(element_count(recipe.operand("classes").shape.dims)),
        count_(recipe.operand("dst").shape.dims.back()) {}

  void run() override {
    std::fill_n(dst_, rows_ * count_, 0.0f);
    for (std::int64_t row = 0; row < rows_; ++row)
      if (classes_[row] >= 0 && classes_[row] < count_) dst_[row * count_ + classes_[row]] = 1;
  }

 private:
  const std::int32_t* classes_;
  float* dst_;
  std::int64_t rows_, count_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"classes", Access::read, DType::i32}, {"dst", Access::write}};
  check_operands(recipe, rules);
  check_attribute_names(recipe, {});
  check_dense(recipe, "classes");
  check_dense(recipe, "dst");
  Dims rows = recipe.operand("dst").shape.dims;
  if (rows.empty()) reject(recipe, "the result needs a class axis");
  rows.pop_back();
  if (rows != recipe.operand("classes").shape.dims) reject(recipe, "the result must be the classes with one more axis");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<OneHot>(recipe, buffers);
}

}  // namespace

extern const KernelDef one_hot;
const KernelDef one_hot{
    .name = "one_hot",
    .summary = "classes to rows of zeros with a one",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
