// half = s/2, loss_weight = weight · factor · exp(-s), value = loss_weight/weight · loss + s/2, with s = log_variance
// held in [-most, most] inside exp. Scalars in double; a weight of 0 leaves the loss unread.
#include <algorithm>
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

class Uncertainty final : public Executable {
 public:
  Uncertainty(const Recipe& recipe, std::span<void* const> buffers)
      : log_variance_(pointer<const float>(recipe, buffers, "log_variance")),
        loss_(pointer<const double>(recipe, buffers, "loss")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        value_(pointer<double>(recipe, buffers, "value")),
        half_(pointer<double>(recipe, buffers, "half")),
        loss_weight_(pointer<double>(recipe, buffers, "loss_weight")),
        factor_(recipe.attributes.number("factor")),
        most_(recipe.attributes.number("most")) {}

  void run() override {
    const double s = *log_variance_, precision = factor_ * std::exp(-std::clamp(s, -most_, most_));
    *half_ = s / 2;
    *loss_weight_ = *weight_ * precision;
    *value_ = (*weight_ == 0 ? 0 : precision * *loss_) + s / 2;
  }

 private:
  const float* log_variance_;
  const double *loss_, *weight_;
  double *value_, *half_, *loss_weight_;
  double factor_, most_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"log_variance"},
                               {"loss", Access::read, DType::f64},
                               {"weight", Access::read, DType::f64},
                               {"value", Access::write, DType::f64},
                               {"half", Access::write, DType::f64},
                               {"loss_weight", Access::write, DType::f64}};
  check_operands(recipe, rules);
  if (recipe.operand("log_variance").shape.dims != Dims{1})
    reject(recipe, "the logarithm of the variance is one number");
  check_attribute_names(recipe, {"factor", "most"});
  number_setting(recipe, "factor", 0, 1e6);
  number_setting(recipe, "most", 0, 80);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Uncertainty>(recipe, buffers);
}

}  // namespace

extern const KernelDef uncertainty;
const KernelDef uncertainty{
    .name = "uncertainty",
    .summary = "the learned weight of a loss term",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
