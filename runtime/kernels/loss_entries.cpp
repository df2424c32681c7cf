// value = Σ ℓ(prediction, target) / D over the real rows, for the losses of entry_formulas.hpp and the metrics that are
// a mean over entries. The sum is taken in double over fixed blocks.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/entry_operands.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
struct ChunkSum {
  Formula formula;
  /// count ≤ entry_chunk. In two loops: the formula alone vectorises, whatever stands in it.
  WEIR_INLINE double operator()(const float* x, const float* t, std::int64_t count) const {
    alignas(64) double values[entry_chunk];
    for (std::int64_t i = 0; i < count; ++i) values[i] = formula.value(x[i], t[i]);
    return lane_sum(values, count);
  }
};

template <class Formula>
class LossEntries final : public Executable {
 public:
  LossEntries(const Recipe& recipe, std::span<void* const> buffers)
      : loop_{Formula(recipe.attributes)},
        reduction_(recipe, buffers),
        targets_(recipe, buffers),
        prediction_(pointer<const float>(recipe, buffers, "prediction")),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        value_(pointer<double>(recipe, buffers, "value")),
        batch_(recipe.operand("prediction").shape.dims[0]),
        entries_(recipe.operand("prediction").shape.dims[1]),
        threads_(recipe.threads),
        sum_(batch_ * entries_, entry_block) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, batch_);
    const double sum = sum_(rows * entries_, threads_, [&](std::int64_t begin, std::int64_t end) {
      return reduction_.is_weighted() ? weighted_block(begin, end) : block(begin, end);
    });
    *value_ = reduction_.value(sum, rows);
  }

 private:
  /// The entries that one weight covers lie one after another; a block may begin and end among them.
  double weighted_block(std::int64_t begin, std::int64_t end) const {
    const std::int64_t covered = entries_ / reduction_.weights_per_sample();
    double sum = 0;
    while (begin < end) {
      const std::int64_t index = begin / covered, stop = std::min(end, (index + 1) * covered);
      if (const float weight = reduction_.weight(index); weight != 0) sum += weight * block(begin, stop);
      begin = stop;
    }
    return sum;
  }

  double block(std::int64_t begin, std::int64_t end) const {
    alignas(64) float room[entry_chunk];
    double sum = 0;
    for (; begin < end; begin += entry_chunk) {
      const std::int64_t count = std::min(entry_chunk, end - begin);
      sum += dispatch(loop_, prediction_ + begin, targets_.read(begin, count, room), count);
    }
    return sum;
  }

  ChunkSum<Formula> loop_;
  Reduction reduction_;
  EntryTargets targets_;
  const float* prediction_;
  const double* rows_;
  double* value_;
  std::int64_t batch_, entries_;
  int threads_;
  BlockSum sum_;
};

void validate(const Recipe& recipe) { check_entries(recipe, {{"value", Access::write, DType::f64}}); }

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_entry_formula(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    return std::make_unique<LossEntries<Formula>>(recipe, buffers);
  });
}

}  // namespace

extern const KernelDef loss_entries;
const KernelDef loss_entries{
    .name = "loss_entries",
    .summary = "loss or metric that is a mean over entries",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
