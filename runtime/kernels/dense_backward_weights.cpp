// diff_weights = srcᵀ · diff_dst, diff_bias = Σ of the rows of diff_dst. For small layers; one thread.
#include "runtime/dense_layer.hpp"
#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/small_product.hpp"

namespace weir::kernels {
namespace {

class DenseBackwardWeights final : public Executable {
 public:
  DenseBackwardWeights(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        diff_dst_(pointer<const float>(recipe, buffers, "diff_dst")),
        diff_weights_(pointer<float>(recipe, buffers, "diff_weights")),
        diff_bias_(pointer<float>(recipe, buffers, "diff_bias")),
        rows_(recipe.operand("src").shape.dims[0]),
        in_(recipe.operand("src").shape.dims[1]),
        out_(recipe.operand("diff_dst").shape.dims[1]),
        strips_(rows_, out_) {}

  void run() override {
    strips_.for_each(diff_dst_, [&](std::int64_t first, std::int64_t columns, std::int64_t width, const float* strip,
                                    std::int64_t step) {
      multiply({src_, 1, in_, strip, step, nullptr, diff_weights_ + first, out_, in_, columns, rows_, false, nullptr},
               width);
      if (diff_bias_) add_rows(strip, step, rows_, diff_bias_ + first, columns, width);
    });
  }

 private:
  const float *src_, *diff_dst_;
  float *diff_weights_, *diff_bias_;
  std::int64_t rows_, in_, out_;
  Strips strips_;
};

constexpr OperandRule operands[] = {
    {"src"}, {"diff_dst"}, {"diff_weights", Access::write}, {"diff_bias", Access::write, DType::f32, true}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  check_dense_layer(recipe);
  check_attribute_names(recipe, {});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<DenseBackwardWeights>(recipe, buffers);
}

}  // namespace

extern const KernelDef dense_backward_weights;
const KernelDef dense_backward_weights{.name = "dense_backward_weights",
                                       .summary = "gradients of a small dense layer by its kernel and bias",
                                       .validate = validate,
                                       .create = create};

}  // namespace weir::kernels
