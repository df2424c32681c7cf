// gradient = ∂ℓ/∂target · weight / D for the losses of entry_formulas.hpp that have a slope_of_target; 0 behind the
// real rows and where an entry has weight 0.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/entry_operands.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
concept HasTargetSlope = requires(const Formula& formula) {
  formula.slope_of_target(0.0f, 0.0f);
};

template <class Formula>
struct ChunkGradient {
  Formula formula;
  WEIR_INLINE void operator()(const float* x, const float* t, float* gradient, float factor, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) gradient[i] = formula.slope_of_target(x[i], t[i]) * factor;
  }
};

template <class Formula>
class EntriesTargetGradient final : public Executable {
 public:
  EntriesTargetGradient(const Recipe& recipe, std::span<void* const> buffers)
      : loop_{Formula(recipe.attributes)},
        reduction_(recipe, buffers),
        prediction_(pointer<const float>(recipe, buffers, "prediction")),
        target_(pointer<const float>(recipe, buffers, "target")),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")),
        batch_(recipe.operand("prediction").shape.dims[0]),
        entries_(recipe.operand("prediction").shape.dims[1]),
        threads_(recipe.threads) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, batch_);
    const float factor = reduction_.factor(*weight_, rows);
    const std::int64_t real = factor == 0 ? 0 : rows * entries_;
    Blocks(real, entry_block).for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      if (reduction_.is_weighted())
        weighted_block(begin, end, factor);
      else
        block(begin, end, factor);
    });
    std::fill(gradient_ + real, gradient_ + batch_ * entries_, 0.0f);
  }

 private:
  void weighted_block(std::int64_t begin, std::int64_t end, float factor) const {
    const std::int64_t covered = entries_ / reduction_.weights_per_sample();
    while (begin < end) {
      const std::int64_t index = begin / covered, stop = std::min(end, (index + 1) * covered);
      if (const float weight = reduction_.weight(index); weight != 0)
        block(begin, stop, factor * weight);
      else
        std::fill(gradient_ + begin, gradient_ + stop, 0.0f);
      begin = stop;
    }
  }

  void block(std::int64_t begin, std::int64_t end, float factor) const {
    dispatch(loop_, prediction_ + begin, target_ + begin, gradient_ + begin, factor, end - begin);
  }

  ChunkGradient<Formula> loop_;
  Reduction reduction_;
  const float *prediction_, *target_;
  const double *rows_, *weight_;
  float* gradient_;
  std::int64_t batch_, entries_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_entries(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
  const RecipeOperand* target = recipe.find("target");
  if (!target || target->dtype != DType::f32) reject(recipe, "the target must be f32");
  with_entry_formula(recipe, [&]<class Formula>() {
    if (!HasTargetSlope<Formula>) reject(recipe, "this loss gives no gradient of its target");
  });
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_entry_formula(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    if constexpr (HasTargetSlope<Formula>)
      return std::make_unique<EntriesTargetGradient<Formula>>(recipe, buffers);
    else
      reject(recipe, "this loss gives no gradient of its target");
  });
}

constexpr InPlace in_place[] = {{"gradient", "target"}, {"gradient", "prediction"}};

}  // namespace

extern const KernelDef loss_entries_target_gradient;
const KernelDef loss_entries_target_gradient{
    .name = "loss_entries_target_gradient",
    .summary = "gradient of a loss over entries by its target",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
