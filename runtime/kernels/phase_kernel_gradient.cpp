// kernel = the sum of those of `phases` that each tap went into (phase_taps.hpp), and `rest` in its channels; bias =
// the sum of the phases' biases.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/phase_taps.hpp"

namespace weir::kernels {
namespace {

class PhaseKernelGradient final : public Executable {
 public:
  PhaseKernelGradient(const Recipe& recipe, std::span<void* const> buffers)
      : taps_(recipe),
        phases_(pointer<const float>(recipe, buffers, "phases")),
        rest_(pointer<const float>(recipe, buffers, "rest")),
        phase_bias_(pointer<const float>(recipe, buffers, "phase_bias")),
        kernel_(pointer<float>(recipe, buffers, "kernel")),
        bias_(pointer<float>(recipe, buffers, "bias")) {}

  void run() override {
    std::fill_n(kernel_, 9 * taps_.all_channels * taps_.filters, 0.0f);
    taps_.for_each([&](std::int64_t to, std::int64_t from, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) kernel_[to + i] += phases_[from + i];
    });
    if (rest_)
      taps_.for_each_of_rest([&](std::int64_t to, std::int64_t from, std::int64_t count) {
        std::copy_n(rest_ + from, count, kernel_ + to);
      });
    const std::int64_t filters = taps_.filters;
    for (std::int64_t i = 0; bias_ && i < filters; ++i)
      bias_[i] =
          (phase_bias_[i] + phase_bias_[filters + i]) + (phase_bias_[2 * filters + i] + phase_bias_[3 * filters + i]);
  }

 private:
  PhaseTaps taps_;
  const float *phases_, *rest_, *phase_bias_;
  float *kernel_, *bias_;
};

constexpr OperandRule operands[] = {{"phases"},
                                    {"rest", Access::read, DType::f32, true},
                                    {"phase_bias", Access::read, DType::f32, true},
                                    {"kernel", Access::write},
                                    {"bias", Access::write, DType::f32, true}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_phase_taps(recipe);
  check_attribute_names(recipe, {"small_first"});
  const RecipeOperand *phase_bias = recipe.find("phase_bias"), *bias = recipe.find("bias");
  const std::int64_t filters = recipe.operand("kernel").shape.dims[3];
  if ((phase_bias != nullptr) != (bias != nullptr)) reject(recipe, "bias and phase_bias come together");
  if (bias && (bias->shape.dims != Dims{filters} || phase_bias->shape.dims != Dims{4 * filters}))
    reject(recipe, "bias must have one value for each filter, phase_bias four");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<PhaseKernelGradient>(recipe, buffers);
}

}  // namespace

extern const KernelDef phase_kernel_gradient;
const KernelDef phase_kernel_gradient{.name = "phase_kernel_gradient",
                                      .summary = "gradient of phase_kernel, with that of the bias",
                                      .validate = validate,
                                      .create = create};

}  // namespace weir::kernels
