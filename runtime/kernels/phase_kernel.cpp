// phases = sums of the kernel's taps (phase_taps.hpp), rest = the channels that they leave.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/phase_taps.hpp"

namespace weir::kernels {
namespace {

class PhaseKernel final : public Executable {
 public:
  PhaseKernel(const Recipe& recipe, std::span<void* const> buffers)
      : taps_(recipe),
        kernel_(pointer<const float>(recipe, buffers, "kernel")),
        phases_(pointer<float>(recipe, buffers, "phases")),
        rest_(pointer<float>(recipe, buffers, "rest")) {}

  void run() override {
    std::fill_n(phases_, 16 * taps_.channels * taps_.filters, 0.0f);
    taps_.for_each([&](std::int64_t from, std::int64_t to, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) phases_[to + i] += kernel_[from + i];
    });
    if (!rest_) return;
    taps_.for_each_of_rest([&](std::int64_t from, std::int64_t to, std::int64_t count) {
      std::copy_n(kernel_ + from, count, rest_ + to);
    });
  }

 private:
  PhaseTaps taps_;
  const float* kernel_;
  float *phases_, *rest_;
};

constexpr OperandRule operands[] = {{"kernel"}, {"phases", Access::write}, {"rest", Access::write, DType::f32, true}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_phase_taps(recipe);
  check_attribute_names(recipe, {"small_first"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<PhaseKernel>(recipe, buffers);
}

}  // namespace

extern const KernelDef phase_kernel;
const KernelDef phase_kernel{.name = "phase_kernel",
                             .summary = "a 3 by 3 kernel as the 2 by 2 kernels of an enlarged image's phases",
                             .validate = validate,
                             .create = create};

}  // namespace weir::kernels
