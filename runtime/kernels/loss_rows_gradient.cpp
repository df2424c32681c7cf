// gradient = ∂ℓ/∂prediction · weight / D for the losses of row_formulas.hpp; 0 behind the real rows.
#include "runtime/kernel.hpp"
#include "runtime/kernels/row_formulas.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
class RowsGradient final : public Executable {
 public:
  RowsGradient(const Recipe& recipe, std::span<void* const> buffers)
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
        if (const double weight = reduction_.weight(row); weight != 0)
          of_row(row, factor * weight);
        else
          std::fill_n(gradient_ + row * data_.classes, data_.classes, 0.0f);
      }
    });
    std::fill(gradient_ + real * data_.classes, gradient_ + data_.batch * data_.rows * data_.classes, 0.0f);
  }

 private:
  void of_row(std::int64_t row, double factor) const {
    float* gradient = gradient_ + row * data_.classes;
    if (data_.is_outside(row))
      std::fill_n(gradient, data_.classes, std::numeric_limits<float>::quiet_NaN());
    else
      formula_.gradient(data_.row(row), factor, gradient);
  }

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
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_formula<RowFormulas>(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    return std::make_unique<RowsGradient<Formula>>(recipe, buffers);
  });
}

constexpr InPlace in_place[] = {{"gradient", "prediction"}};

}  // namespace

extern const KernelDef loss_rows_gradient;
const KernelDef loss_rows_gradient{
    .name = "loss_rows_gradient",
    .summary = "gradient of a loss over rows of classes by its prediction",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
