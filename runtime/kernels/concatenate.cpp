// dst = src_0, src_1, … one after another along an axis. Dense; f32 or i32.
#include <cstring>
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

std::int64_t product(const Dims& dims, std::size_t begin, std::size_t end) {
  std::int64_t count = 1;
  for (std::size_t i = begin; i < end; ++i) count *= dims[i];
  return count;
}

/// A source's part of one row of dst.
struct Part {
  const std::uint32_t* data;
  std::int64_t length;
};

class Concatenate final : public Executable {
 public:
  Concatenate(const Recipe& recipe, std::span<void* const> buffers) : rows_(0, 1), threads_(recipe.threads) {
    const auto axis = static_cast<std::size_t>(recipe.attributes.integer("axis"));
    const Dims& dims = recipe.operand("dst").shape.dims;
    for (std::size_t i = 0; i < recipe.operands.size(); ++i) {
      const RecipeOperand& operand = recipe.operands[i];
      if (operand.role == "dst") dst_ = static_cast<std::uint32_t*>(buffers[i]);
    }
    for (int i = 0; const RecipeOperand* source = recipe.find("src_" + std::to_string(i)); ++i) {
      const auto index = static_cast<std::size_t>(recipe.index_of(source->role));
      parts_.push_back(
          {static_cast<const std::uint32_t*>(buffers[index]), product(source->shape.dims, axis, dims.size())});
    }
    length_ = product(dims, axis, dims.size());
    rows_ = Blocks(product(dims, 0, axis), 16384 / std::min<std::int64_t>(length_, 16384));
  }

  void run() override {
    rows_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        std::uint32_t* to = dst_ + row * length_;
        for (const Part& part : parts_) {
          std::memcpy(to, part.data + row * part.length, static_cast<std::size_t>(part.length) * sizeof *to);
          to += part.length;
        }
      }
    });
  }

 private:
  std::uint32_t* dst_ = nullptr;
  std::vector<Part> parts_;
  std::int64_t length_ = 0;
  Blocks rows_;
  int threads_;
};

void check_source(const Recipe& recipe, const RecipeOperand& source, std::size_t axis) {
  const Shape &from = source.shape, &to = recipe.operand("dst").shape;
  if (source.access != Access::read || source.dtype != recipe.operand("dst").dtype)
    reject(recipe, "operand \"" + source.role + "\" must be read, and of the same type as dst");
  Dims expected = to.dims;
  if (from.dims.size() == to.dims.size()) expected[axis] = from.dims[axis];
  if (from.dims != expected || from.axes != to.axes)
    reject(recipe, "operand \"" + source.role + "\" differs from dst on another axis than the one joined");
  check_dense(recipe, source.role);
}

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"axis"});
  const RecipeOperand& dst = recipe.operand("dst");
  if (dst.access != Access::write || (dst.dtype != DType::f32 && dst.dtype != DType::i32))
    reject(recipe, "operand \"dst\" must be written, and f32 or i32");
  check_dense(recipe, "dst");
  const auto rank = static_cast<std::int64_t>(dst.shape.dims.size());
  const auto axis = static_cast<std::size_t>(integer_setting(recipe, "axis", 0, rank - 1));
  std::int64_t sum = 0;
  std::size_t sources = 0;
  for (; const RecipeOperand* source = recipe.find("src_" + std::to_string(sources)); ++sources) {
    check_source(recipe, *source, axis);
    sum += source->shape.dims[axis];
  }
  if (sources == 0 || recipe.operands.size() != sources + 1)
    reject(recipe, "its operands must be src_0, src_1, … and dst, each once");
  if (sum != dst.shape.dims[axis]) reject(recipe, "the sources do not fill dst");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Concatenate>(recipe, buffers);
}

}  // namespace

extern const KernelDef concatenate;
const KernelDef concatenate{
    .name = "concatenate", .summary = "tensors joined along an axis", .validate = validate, .create = create};

}  // namespace weir::kernels
