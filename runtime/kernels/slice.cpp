// dst = the part of src that begins at `start` on an axis; its length is dst's. Dense; f32 or i32. The gradient of
// concatenate.
#include <cstring>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

std::int64_t product(const Dims& dims, std::size_t begin, std::size_t end) {
  std::int64_t count = 1;
  for (std::size_t i = begin; i < end; ++i) count *= dims[i];
  return count;
}

class Slice final : public Executable {
 public:
  Slice(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const std::uint32_t>(recipe, buffers, "src")),
        dst_(pointer<std::uint32_t>(recipe, buffers, "dst")),
        rows_(0, 1),
        threads_(recipe.threads) {
    const auto axis = static_cast<std::size_t>(recipe.attributes.integer("axis"));
    const Dims &from = recipe.operand("src").shape.dims, &to = recipe.operand("dst").shape.dims;
    src_ += recipe.attributes.integer("start") * product(from, axis + 1, from.size());
    stride_ = product(from, axis, from.size());
    length_ = product(to, axis, to.size());
    rows_ = Blocks(product(to, 0, axis), 16384 / std::min<std::int64_t>(length_, 16384));
  }

  void run() override {
    rows_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        std::memcpy(dst_ + row * length_, src_ + row * stride_, static_cast<std::size_t>(length_) * sizeof *dst_);
    });
  }

 private:
  const std::uint32_t* src_;
  std::uint32_t* dst_;
  std::int64_t stride_ = 0, length_ = 0;
  Blocks rows_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"axis", "start"});
  const DType type = recipe.operand("dst").dtype;
  if (type != DType::f32 && type != DType::i32) reject(recipe, "its operands must be f32 or i32");
  const OperandRule operands[] = {{"src", Access::read, type}, {"dst", Access::write, type}};
  check_operands(recipe, operands);
  const Shape &src = recipe.operand("src").shape, &dst = recipe.operand("dst").shape;
  const auto rank = static_cast<std::int64_t>(dst.dims.size());
  const auto axis = static_cast<std::size_t>(integer_setting(recipe, "axis", 0, rank - 1));
  const std::int64_t start = integer_setting(recipe, "start", 0, largest_extent);
  Dims expected = dst.dims;
  if (src.dims.size() == dst.dims.size()) expected[axis] = src.dims[axis];
  if (src.dims != expected || src.axes != dst.axes || start + dst.dims[axis] > src.dims[axis])
    reject(recipe, "dst is no part of src");
  check_dense(recipe, "src");
  check_dense(recipe, "dst");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Slice>(recipe, buffers);
}

}  // namespace

extern const KernelDef slice;
const KernelDef slice{
    .name = "slice", .summary = "a part of a tensor along an axis", .validate = validate, .create = create};

}  // namespace weir::kernels
