// diff_src = diff_dst · weightsᵀ. For small layers; one thread. The transposed weights are written out first, so that
// sums run along vectors.
#include "runtime/dense_layer.hpp"
#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/small_product.hpp"

namespace weir::kernels {
namespace {

/// Columns `first` … of a matrix as rows: to[o · step + i] = from[(first + i) · out + o], zeros behind `columns`.
struct Transpose {
  WEIR_INLINE void operator()(const float* from, float* to, std::int64_t columns, std::int64_t step,
                              std::int64_t out) const {
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < columns; ++i) to[o * step + i] = from[i * out + o];
  }
};

class DenseBackwardData final : public Executable {
 public:
  DenseBackwardData(const Recipe& recipe, std::span<void* const> buffers)
      : diff_dst_(pointer<const float>(recipe, buffers, "diff_dst")),
        weights_(pointer<const float>(recipe, buffers, "weights")),
        diff_src_(pointer<float>(recipe, buffers, "diff_src")),
        rows_(recipe.operand("diff_src").shape.dims[0]),
        in_(recipe.operand("diff_src").shape.dims[1]),
        out_(recipe.operand("diff_dst").shape.dims[1]),
        strip_(static_cast<std::size_t>(out_ * widest_strip)) {}

  void run() override {
    for (std::int64_t first = 0; first < in_; first += widest_strip) {
      const std::int64_t columns = std::min(widest_strip, in_ - first), width = strip_width(columns);
      dispatch(Transpose{}, weights_ + first * out_, strip_.data(), columns, width, out_);
      multiply({diff_dst_, out_, 1, strip_.data(), width, nullptr, diff_src_ + first, in_, rows_, columns, out_, false,
                nullptr},
               width);
    }
  }

 private:
  const float *diff_dst_, *weights_;
  float* diff_src_;
  std::int64_t rows_, in_, out_;
  std::vector<float> strip_;  ///< behind the last columns it holds zeros, or what an earlier strip left: never stored
};

constexpr OperandRule operands[] = {{"diff_dst"}, {"weights"}, {"diff_src", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  check_dense_layer(recipe);
  check_attribute_names(recipe, {});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<DenseBackwardData>(recipe, buffers);
}

}  // namespace

extern const KernelDef dense_backward_data;
const KernelDef dense_backward_data{.name = "dense_backward_data",
                                    .summary = "gradient of a small dense layer by its rows",
                                    .validate = validate,
                                    .create = create};

}  // namespace weir::kernels
