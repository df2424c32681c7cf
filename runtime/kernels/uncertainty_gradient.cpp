// gradient of log_variance = weight/2 - loss_weight · loss; a loss_weight of 0 leaves the loss unread.
#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class UncertaintyGradient final : public Executable {
 public:
  UncertaintyGradient(const Recipe& recipe, std::span<void* const> buffers)
      : loss_(pointer<const double>(recipe, buffers, "loss")),
        loss_weight_(pointer<const double>(recipe, buffers, "loss_weight")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")) {}

  void run() override {
    const double pull = *loss_weight_ == 0 ? 0 : *loss_weight_ * *loss_;
    *gradient_ = static_cast<float>(*weight_ / 2 - pull);
  }

 private:
  const double *loss_, *loss_weight_, *weight_;
  float* gradient_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"loss", Access::read, DType::f64},
                               {"loss_weight", Access::read, DType::f64},
                               {"weight", Access::read, DType::f64},
                               {"gradient", Access::write}};
  check_operands(recipe, rules);
  if (recipe.operand("gradient").shape.dims != Dims{1}) reject(recipe, "the gradient is one number");
  check_attribute_names(recipe, {});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<UncertaintyGradient>(recipe, buffers);
}

}  // namespace

extern const KernelDef uncertainty_gradient;
const KernelDef uncertainty_gradient{
    .name = "uncertainty_gradient",
    .summary = "gradient of a term's learned weight",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
