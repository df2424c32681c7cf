// gradient = ((1 - rho) / (1 - r_j) - rho / r_j) · weight / rows in every real row, 0 behind them and where the mean
// r_j lies outside [1e-7, 1 - 1e-7]. The means are taken again, so that nothing is kept between the two steps.
#include "runtime/kernel.hpp"
#include "runtime/kernels/unit_means.hpp"

namespace weir::kernels {
namespace {

class KlSparsityGradient final : public Executable {
 public:
  KlSparsityGradient(const Recipe& recipe, std::span<void* const> buffers)
      : means_(recipe, buffers),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")),
        rho_(recipe.attributes.number("rho")),
        row_(static_cast<std::size_t>(means_.units())) {}

  void run() override {
    const double weight = *weight_;
    const std::int64_t rows = weight == 0 ? 0 : means_.rows(), units = means_.units();
    if (rows > 0) means_.take();
    for (std::int64_t unit = 0; rows > 0 && unit < units; ++unit)
      row_[static_cast<std::size_t>(unit)] =
          static_cast<float>(slope(means_[unit]) * weight / static_cast<double>(rows));
    for (std::int64_t row = 0; row < rows; ++row) std::copy(row_.begin(), row_.end(), gradient_ + row * units);
    std::fill(gradient_ + rows * units, gradient_ + means_.batch() * units, 0.0f);
  }

 private:
  double slope(double r) const {
    return r < UnitMeans::least || r > UnitMeans::most ? 0 : (1 - rho_) / (1 - r) - rho_ / r;
  }

  UnitMeans means_;
  const double* weight_;
  float* gradient_;
  double rho_;
  std::vector<float> row_;
};

void validate(const Recipe& recipe) {
  check_sparsity(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<KlSparsityGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"gradient", "prediction"}};

}  // namespace

extern const KernelDef kl_sparsity_gradient;
const KernelDef kl_sparsity_gradient{
    .name = "kl_sparsity_gradient",
    .summary = "gradient of kl_sparsity",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
