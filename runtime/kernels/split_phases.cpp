// dst = the phases of src (phases.hpp), 0 where a phase has no pixel.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/phases.hpp"

namespace weir::kernels {
namespace {

class SplitPhases final : public Executable {
 public:
  SplitPhases(const Recipe& recipe, std::span<void* const> buffers)
      : geometry_(recipe.operand("src").shape, recipe.operand("dst").shape),
        src_(pointer<const float>(recipe, buffers, "src")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        threads_(recipe.threads),
        rows_(geometry_.batch * geometry_.runs * geometry_.small_height, 8) {}

  void run() override {
    const PhaseGeometry& g = geometry_;
    rows_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t i = row % g.small_height, index = row / g.small_height % g.runs;
        for (std::int64_t phase = 0; phase < 4; ++phase) split(row / g.small_height / g.runs, index, phase, i);
      }
    });
  }

 private:
  /// One row of one phase.
  void split(std::int64_t sample, std::int64_t index, std::int64_t phase, std::int64_t i) {
    const PhaseGeometry& g = geometry_;
    const std::int64_t p = phase / 2, q = phase % 2, y = 2 * (i - p) + p, columns = g.width / 2;
    float* to = dst_ + g.phase(sample, index, phase, i, 0);
    const bool row_exists = y >= 0 && y < g.height;
    const float* from = src_ + (row_exists ? g.row(sample, index, y) : 0) + q * g.run;
    std::fill_n(to + (q == 0 ? columns : 0) * g.step, g.run, 0.0f);  // the column without a pixel
    to += q * g.step;
    for (std::int64_t j = 0; j < columns; ++j, from += 2 * g.run, to += g.step) {
      if (row_exists)
        std::copy_n(from, g.run, to);
      else
        std::fill_n(to, g.run, 0.0f);
    }
  }

  PhaseGeometry geometry_;
  const float* src_;
  float* dst_;
  int threads_;
  Blocks rows_;
};

constexpr OperandRule operands[] = {{"src"}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_phases(recipe, "src", "dst");
  check_attribute_names(recipe, {});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<SplitPhases>(recipe, buffers);
}

}  // namespace

extern const KernelDef split_phases;
const KernelDef split_phases{.name = "split_phases",
                             .summary = "the phases of an image's pixels, side by side in channels",
                             .validate = validate,
                             .create = create};

}  // namespace weir::kernels
