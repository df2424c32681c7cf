// gradient = weight · (I·((1 - alpha - beta)·t + beta) - t·D) / D² over the real rows, 0 behind them; I and D as in
// overlap, summed again so that nothing is kept between the two steps.
#include "runtime/kernel.hpp"
#include "runtime/kernels/overlap_sums.hpp"

namespace weir::kernels {
namespace {

class OverlapGradient final : public Executable {
 public:
  OverlapGradient(const Recipe& recipe, std::span<void* const> buffers)
      : overlap_(recipe, buffers),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")) {}

  void run() override {
    const double weight = *weight_;
    const std::int64_t real = weight == 0 ? 0 : overlap_.real_entries();
    if (real > 0) overlap_.add_up();
    const Blocks blocks(real, Overlap::block);
    blocks.for_each(overlap_.threads(), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        gradient_[i] = static_cast<float>(weight * overlap_.slope(overlap_.target(i)));
    });
    std::fill(gradient_ + real, gradient_ + overlap_.entries(), 0.0f);
  }

 private:
  Overlap overlap_;
  const double* weight_;
  float* gradient_;
};

void validate(const Recipe& recipe) {
  check_overlap(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<OverlapGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"gradient", "prediction"}};

}  // namespace

extern const KernelDef overlap_gradient;
const KernelDef overlap_gradient{
    .name = "overlap_gradient",
    .summary = "gradient of the overlap of prediction and target",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
