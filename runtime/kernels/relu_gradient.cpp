// d_input = d_output where output > 0, else 0. Flat over the physical entries: padding lanes are 0 in output, so 0 in
// d_input.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Loop {
  WEIR_INLINE void operator()(const float* output, const float* d_output, float* d_input, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) d_input[i] = output[i] > 0 ? d_output[i] : 0.0f;
  }
};

class ReluGradient final : public Executable {
 public:
  ReluGradient(const Recipe& recipe, std::span<void* const> buffers)
      : output_(pointer<const float>(recipe, buffers, "output")),
        d_output_(pointer<const float>(recipe, buffers, "d_output")),
        d_input_(pointer<float>(recipe, buffers, "d_input")),
        blocks_(physical_count(recipe.operand("output").shape), 16384),
        threads_(recipe.threads) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      dispatch(Loop{}, output_ + begin, d_output_ + begin, d_input_ + begin, end - begin);
    });
  }

 private:
  const float *output_, *d_output_;
  float* d_input_;
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {{"output"}, {"d_output"}, {"d_input", Access::write}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "output", "d_output");
  check_equal_shapes(recipe, "output", "d_input");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ReluGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"d_input", "d_output"}, {"d_input", "output"}};

}  // namespace

extern const KernelDef relu_gradient;
const KernelDef relu_gradient{.name = "relu_gradient",
                              .summary = "gradient of relu by its result",
                              .validate = validate,
                              .create = create,
                              .in_place = in_place};

}  // namespace weir::kernels
