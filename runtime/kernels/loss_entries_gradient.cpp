// gradient = ∂ℓ/∂prediction · weight / D for the losses of entry_formulas.hpp; 0 behind the real rows.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/entry_operands.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
struct ChunkGradient {
  Formula formula;
  WEIR_INLINE void operator()(const float* x, const float* t, float* gradient, float factor, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) gradient[i] = formula.slope(x[i], t[i]) * factor;
  }
};

template <class Formula>
class LossEntriesGradient final : public Executable {
 public:
  LossEntriesGradient(const Recipe& recipe, std::span<void* const> buffers)
      : loop_{Formula(recipe.attributes)},
        reduction_(recipe, buffers),
        targets_(recipe, buffers),
        prediction_(pointer<const float>(recipe, buffers, "prediction")),
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
    const Blocks blocks(real, entry_block);
    blocks.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
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
    alignas(64) float room[entry_chunk];
    for (; begin < end; begin += entry_chunk) {
      const std::int64_t count = std::min(entry_chunk, end - begin);
      dispatch(loop_, prediction_ + begin, targets_.read(begin, count, room), gradient_ + begin, factor, count);
    }
  }

  ChunkGradient<Formula> loop_;
  Reduction reduction_;
  EntryTargets targets_;
  const float* prediction_;
  const double *rows_, *weight_;
  float* gradient_;
  std::int64_t batch_, entries_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_entries(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_entry_formula(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    return std::make_unique<LossEntriesGradient<Formula>>(recipe, buffers);
  });
}

constexpr InPlace in_place[] = {{"gradient", "prediction"}};

}  // namespace

extern const KernelDef loss_entries_gradient;
const KernelDef loss_entries_gradient{
    .name = "loss_entries_gradient",
    .summary = "gradient of a loss over entries by its prediction",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
