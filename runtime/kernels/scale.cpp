// dst = src · scale, scale a setting or a scalar that is read at each run; zeros where it is 0, so that 0 times
// infinity never happens. Flat over the physical entries: padding lanes stay 0.
#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Loop {
  WEIR_INLINE void operator()(const float* src, float scale, float* dst, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) dst[i] = src[i] * scale;
  }
};

class Scale final : public Executable {
 public:
  Scale(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        live_(recipe.find("scale") ? pointer<const double>(recipe, buffers, "scale") : nullptr),
        fixed_(live_ ? 0 : recipe.attributes.number("scale")),
        blocks_(physical_count(recipe.operand("src").shape), 16384),
        threads_(recipe.threads) {}

  void run() override {
    const auto scale = static_cast<float>(live_ ? *live_ : fixed_);
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      if (scale == 0)
        std::fill(dst_ + begin, dst_ + end, 0.0f);
      else
        dispatch(Loop{}, src_ + begin, scale, dst_ + begin, end - begin);
    });
  }

 private:
  const float* src_;
  float* dst_;
  const double* live_;
  double fixed_;
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {{"src"}, {"scale", Access::read, DType::f64, true}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "src", "dst");
  if (recipe.find("scale")) return check_attribute_names(recipe, {});
  check_attribute_names(recipe, {"scale"});
  number_setting(recipe, "scale", -3.5e38, 3.5e38);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Scale>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "src"}};

}  // namespace

extern const KernelDef scale;
const KernelDef scale{.name = "scale",
                      .summary = "a tensor times a number, zero where the number is",
                      .validate = validate,
                      .create = create,
                      .in_place = in_place};

}  // namespace weir::kernels
