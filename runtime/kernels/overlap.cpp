// value = 1 - I / (I + alpha·(T - I) + beta·(P - I) + epsilon) with I = Σ t·p, T = Σ t, P = Σ p over the real rows.
#include "runtime/kernel.hpp"
#include "runtime/kernels/overlap_sums.hpp"

namespace weir::kernels {
namespace {

class OverlapValue final : public Executable {
 public:
  OverlapValue(const Recipe& recipe, std::span<void* const> buffers)
      : overlap_(recipe, buffers), value_(pointer<double>(recipe, buffers, "value")) {}

  void run() override {
    *value_ = 0;
    if (overlap_.real_entries() == 0) return;
    overlap_.add_up();
    *value_ = overlap_.value();
  }

 private:
  Overlap overlap_;
  double* value_;
};

void validate(const Recipe& recipe) { check_overlap(recipe, {{"value", Access::write, DType::f64}}); }

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<OverlapValue>(recipe, buffers);
}

}  // namespace

extern const KernelDef overlap;
const KernelDef overlap{
    .name = "overlap",
    .summary = "loss of the overlap of prediction and target (dice, tversky)",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
