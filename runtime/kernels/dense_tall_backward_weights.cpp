// diff_weights = srcᵀ · diff_dst, diff_bias = Σ of the rows of diff_dst, for many rows (tall_product.hpp). Threads
// share out the rows of diff_weights.
#include "runtime/dense_layer.hpp"
#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/tall_product.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {
namespace {

template <class Product>
class DenseTallBackwardWeights final : public Executable {
 public:
  DenseTallBackwardWeights(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        diff_dst_(pointer<const float>(recipe, buffers, "diff_dst")),
        diff_weights_(pointer<float>(recipe, buffers, "diff_weights")),
        diff_bias_(pointer<float>(recipe, buffers, "diff_bias")),
        in_(recipe.operand("src").shape.dims[1]),
        tiles_((in_ + Product::rows_of_tile - 1) / Product::rows_of_tile),
        threads_(static_cast<int>(std::min<std::int64_t>(recipe.threads, tiles_))),
        products_(static_cast<std::size_t>(threads_),
                  Product({recipe.operand("src").shape.dims[0], in_, recipe.operand("diff_dst").shape.dims[1]})) {}

  void run() override {
    parallel(threads_, [&](int index, int team) {
      const std::int64_t tall = Product::rows_of_tile;
      const std::int64_t first = tiles_ * index / team * tall, last = std::min(in_, tiles_ * (index + 1) / team * tall);
      products_[static_cast<std::size_t>(index)].run(src_, diff_dst_, diff_weights_, first, last,
                                                     index == 0 ? diff_bias_ : nullptr);
    });
  }

 private:
  const float *src_, *diff_dst_;
  float *diff_weights_, *diff_bias_;
  std::int64_t in_, tiles_;
  int threads_;
  std::vector<Product> products_;  ///< one a thread
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
#if defined(__x86_64__)
  if (instructions() == Instructions::avx512)
    return std::make_unique<DenseTallBackwardWeights<TallProduct<8, 16>>>(recipe, buffers);
#endif
  return std::make_unique<DenseTallBackwardWeights<TallProduct<6, 8>>>(recipe, buffers);
}

}  // namespace

extern const KernelDef dense_tall_backward_weights;
const KernelDef dense_tall_backward_weights{
    .name = "dense_tall_backward_weights",
    .summary = "gradients of a dense layer over many rows by its kernel and bias",
    .validate = validate,
    .create = create};

}  // namespace weir::kernels
