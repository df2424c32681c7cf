// d_input = d_output · (Φ(input) + input · φ(input)), Φ and φ the standard normal distribution and its density. Flat
// over the physical entries: padding lanes are 0 in d_output, so 0 in d_input.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/elementary.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Loop {
  WEIR_INLINE void operator()(const float* input, const float* d_output, float* d_input, std::int64_t count) const {
    constexpr float one_over_root_of_two_pi = 0.398942280f;
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) {
      const Normal at = normal(input[i]);
      d_input[i] = d_output[i] * (at.distribution + input[i] * at.bell * one_over_root_of_two_pi);
    }
  }
};

class GeluGradient final : public Executable {
 public:
  GeluGradient(const Recipe& recipe, std::span<void* const> buffers)
      : input_(pointer<const float>(recipe, buffers, "input")),
        d_output_(pointer<const float>(recipe, buffers, "d_output")),
        d_input_(pointer<float>(recipe, buffers, "d_input")),
        blocks_(physical_count(recipe.operand("input").shape), 8192),
        threads_(recipe.threads) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      dispatch(Loop{}, input_ + begin, d_output_ + begin, d_input_ + begin, end - begin);
    });
  }

 private:
  const float *input_, *d_output_;
  float* d_input_;
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {{"input"}, {"d_output"}, {"d_input", Access::write}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "input", "d_output");
  check_equal_shapes(recipe, "input", "d_input");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<GeluGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"d_input", "d_output"}, {"d_input", "input"}};

}  // namespace

extern const KernelDef gelu_gradient;
const KernelDef gelu_gradient{.name = "gelu_gradient",
                              .summary = "gradient of gelu by its argument",
                              .validate = validate,
                              .create = create,
                              .in_place = in_place};

}  // namespace weir::kernels
