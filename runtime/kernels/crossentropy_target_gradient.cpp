// gradient = ∂ crossentropy / ∂ target · weight / D; 0 behind the real rows and where a row has weight 0. In
// double, with q the clipped probabilities of crossentropy_rows.hpp:
//   logits:         keep·(logsumexp z - z)
//   probabilities:  -keep·log q
#include "runtime/kernel.hpp"
#include "runtime/kernels/crossentropy_rows.hpp"

namespace weir::kernels {
namespace {

class CrossentropyTargetGradient final : public Executable {
 public:
  CrossentropyTargetGradient(const Recipe& recipe, std::span<void* const> buffers)
      : targets_(recipe, buffers),
        form_(crossentropy_form(recipe.attributes)),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")),
        threads_(recipe.threads) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, targets_.batch);
    const double factor = reduction_.factor(*weight_, rows) * targets_.keep;
    const std::int64_t real = factor == 0 ? 0 : rows * targets_.rows;
    Blocks(real, targets_.rows_in_block()).for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        if (const double weight = reduction_.weight(row); weight != 0)
          of_row(row, factor * weight);
        else
          std::fill_n(gradient_ + row * targets_.classes, targets_.classes, 0.0f);
      }
    });
    std::fill(gradient_ + real * targets_.classes, gradient_ + targets_.batch * targets_.rows * targets_.classes, 0.0f);
  }

 private:
  void of_row(std::int64_t row, double factor) const {
    const float* x = targets_.prediction + row * targets_.classes;
    float* gradient = gradient_ + row * targets_.classes;
    if (form_ == CrossentropyForm::logits) {
      const float maximum = dispatch(RowMaximum{}, x, targets_.classes);
      const double sum = dispatch(RowExponentials<false>{}, x, maximum, static_cast<float*>(nullptr), targets_.classes);
      for (std::int64_t i = 0; i < targets_.classes; ++i)
        gradient[i] = static_cast<float>(factor * ((static_cast<double>(maximum) - x[i]) + std::log(sum)));
      return;
    }
    double total = 0;
    for (std::int64_t i = 0; i < targets_.classes; ++i) total += x[i];
    for (std::int64_t i = 0; i < targets_.classes; ++i)
      gradient[i] = static_cast<float>(-factor * std::log(clip_probability(x[i] / total)));
  }

  CrossentropyTargets targets_;
  CrossentropyForm form_;
  Reduction reduction_;
  const double *rows_, *weight_;
  float* gradient_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_crossentropy(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
  const RecipeOperand* target = recipe.find("target");
  if (!target || target->dtype != DType::f32) reject(recipe, "the target must be f32");
  word_setting(recipe, "form", {"logits", "probabilities"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<CrossentropyTargetGradient>(recipe, buffers);
}

}  // namespace

extern const KernelDef crossentropy_target_gradient;
const KernelDef crossentropy_target_gradient{
    .name = "crossentropy_target_gradient",
    .summary = "gradient of crossentropy by its target",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
