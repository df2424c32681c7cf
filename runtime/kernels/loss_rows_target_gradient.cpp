// gradient = ∂ℓ/∂target · weight / D for the losses of row_formulas.hpp that have a target_gradient; 0 behind the real
// rows and where a row has weight 0.
#include "runtime/kernel.hpp"
#include "runtime/kernels/row_formulas.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
concept HasTargetGradient = requires(const Formula& formula, const LossRow& row, float* out) {
  formula.target_gradient(row, 1.0, out);
};

template <class Formula>
class RowsTargetGradient final : public Executable {
 public:
  RowsTargetGradient(const Recipe& recipe, std::span<void* const> buffers)
      : formula_(recipe.attributes),
        data_(recipe, buffers),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")),
        threads_(recipe.threads) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, data_.batch);
    const double factor = reduction_.factor(*weight_, rows);
    const std::int64_t real = factor == 0 ? 0 : rows * data_.rows;
    Blocks(real, data_.rows_in_block()).for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        float* gradient = gradient_ + row * data_.classes;
        if (const double weight = reduction_.weight(row); weight != 0)
          formula_.target_gradient(data_.row(row), factor * weight, gradient);
        else
          std::fill_n(gradient, data_.classes, 0.0f);
      }
    });
    std::fill(gradient_ + real * data_.classes, gradient_ + data_.batch * data_.rows * data_.classes, 0.0f);
  }

 private:
  Formula formula_;
  LossRows data_;
  Reduction reduction_;
  const double *rows_, *weight_;
  float* gradient_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_loss_rows(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
  const RecipeOperand* target = recipe.find("target");
  if (!target || target->dtype != DType::f32) reject(recipe, "the target must be f32");
  with_formula<RowFormulas>(recipe, [&]<class Formula>() {
    if (!HasTargetGradient<Formula>) reject(recipe, "this loss gives no gradient of its target");
  });
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_formula<RowFormulas>(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    if constexpr (HasTargetGradient<Formula>)
      return std::make_unique<RowsTargetGradient<Formula>>(recipe, buffers);
    else
      reject(recipe, "this loss gives no gradient of its target");
  });
}

}  // namespace

extern const KernelDef loss_rows_target_gradient;
const KernelDef loss_rows_target_gradient{
    .name = "loss_rows_target_gradient",
    .summary = "gradient of a loss over rows of classes by its target",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
