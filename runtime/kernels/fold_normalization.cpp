// folded = weights · s, folded_bias = (bias - mean) · s + shift, with s = scale / sqrt(variance + epsilon) of each
// channel, the last axis. One thread: it runs once for many predictions.
#include <cmath>
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class FoldNormalization final : public Executable {
 public:
  FoldNormalization(const Recipe& recipe, std::span<void* const> buffers)
      : weights_(pointer<const float>(recipe, buffers, "weights")),
        mean_(pointer<const float>(recipe, buffers, "mean")),
        variance_(pointer<const float>(recipe, buffers, "variance")),
        bias_(optional(recipe, buffers, "bias")),
        scale_(optional(recipe, buffers, "scale")),
        shift_(optional(recipe, buffers, "shift")),
        folded_(pointer<float>(recipe, buffers, "folded")),
        folded_bias_(pointer<float>(recipe, buffers, "folded_bias")),
        rows_(recipe.operand("weights").shape.dims[0]),
        factors_(static_cast<std::size_t>(recipe.operand("weights").shape.dims[1])),
        epsilon_(recipe.attributes.number("epsilon")) {}

  void run() override {
    const std::size_t channels = factors_.size();
    for (std::size_t c = 0; c < channels; ++c) {
      const double factor = (scale_ ? scale_[c] : 1.0) / std::sqrt(static_cast<double>(variance_[c]) + epsilon_);
      factors_[c] = static_cast<float>(factor);
      const double bias = bias_ ? bias_[c] : 0.0, shift = shift_ ? shift_[c] : 0.0;
      folded_bias_[c] = static_cast<float>((bias - static_cast<double>(mean_[c])) * factor + shift);
    }
    for (std::int64_t row = 0; row < rows_; ++row) {
      const float* from = weights_ + row * static_cast<std::int64_t>(channels);
      float* to = folded_ + row * static_cast<std::int64_t>(channels);
      for (std::size_t c = 0; c < channels; ++c) to[c] = from[c] * factors_[c];
    }
  }

 private:
  static const float* optional(const Recipe& recipe, std::span<void* const> buffers, std::string_view role) {
    return recipe.find(role) ? pointer<const float>(recipe, buffers, role) : nullptr;
  }

  const float *weights_, *mean_, *variance_, *bias_, *scale_, *shift_;
  float *folded_, *folded_bias_;
  std::int64_t rows_;
  std::vector<float> factors_;
  double epsilon_;
};

constexpr OperandRule operands[] = {{"weights"},
                                    {"mean"},
                                    {"variance"},
                                    {"bias", Access::read, DType::f32, true},
                                    {"scale", Access::read, DType::f32, true},
                                    {"shift", Access::read, DType::f32, true},
                                    {"folded", Access::write},
                                    {"folded_bias", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "weights", "folded");
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  const Dims& weights = recipe.operand("weights").shape.dims;
  if (weights.size() != 2) reject(recipe, "the weights must be rows of channels");
  for (const RecipeOperand& operand : recipe.operands)
    if (operand.role != "weights" && operand.role != "folded" && operand.shape.dims != Dims{weights[1]})
      reject(recipe, operand.role + " must be one number a channel");
  check_attribute_names(recipe, {"epsilon"});
  number_setting(recipe, "epsilon", 0, 1e6);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<FoldNormalization>(recipe, buffers);
}

}  // namespace

extern const KernelDef fold_normalization;
const KernelDef fold_normalization{
    .name = "fold_normalization",
    .summary = "weights and bias with a normalization by fixed statistics folded in",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
