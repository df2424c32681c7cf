// value = Σ_j rho·log(rho / r_j) + (1 - rho)·log((1 - rho) / (1 - r_j)), r_j the mean of unit j over the real rows,
// clipped to [1e-7, 1 - 1e-7].
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/unit_means.hpp"

namespace weir::kernels {
namespace {

class KlSparsity final : public Executable {
 public:
  KlSparsity(const Recipe& recipe, std::span<void* const> buffers)
      : means_(recipe, buffers),
        value_(pointer<double>(recipe, buffers, "value")),
        rho_(recipe.attributes.number("rho")) {}

  void run() override {
    *value_ = 0;
    if (means_.rows() == 0) return;
    means_.take();
    double sum = 0;
    for (std::int64_t unit = 0; unit < means_.units(); ++unit) {
      const double r = std::clamp(means_[unit], UnitMeans::least, UnitMeans::most);
      sum += rho_ * std::log(rho_ / r) + (1 - rho_) * std::log((1 - rho_) / (1 - r));
    }
    *value_ = sum;
  }

 private:
  UnitMeans means_;
  double* value_;
  double rho_;
};

void validate(const Recipe& recipe) { check_sparsity(recipe, {{"value", Access::write, DType::f64}}); }

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<KlSparsity>(recipe, buffers);
}

}  // namespace

extern const KernelDef kl_sparsity;
const KernelDef kl_sparsity{
    .name = "kl_sparsity",
    .summary = "divergence of each unit's mean activity from rho",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
