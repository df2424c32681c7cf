// dst = src · Φ(src), Φ the standard normal distribution; slope, where the recipe has it, is the derivative Φ(src) +
// src · φ(src), φ the density. With "approximate" Φ(x) is σ(2u), u = sqrt(2/π) · (x + 0.044715 · x³), σ the logistic
// function: that is (1 + tanh u) / 2. Flat over the physical entries: dst is 0 where src is.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/elementary.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Share {
  float share;     ///< of x that is let through
  float increase;  ///< of that share times x
};

struct Exact {
  WEIR_INLINE static Share at(float x) {
    constexpr float one_over_root_of_two_pi = 0.398942280f;
    const Normal normal_at = normal(x);
    return {normal_at.distribution, x * normal_at.bell * one_over_root_of_two_pi};
  }
};

struct Approximate {
  WEIR_INLINE static Share at(float x) {
    constexpr float two_root_of_two_over_pi = 1.59576912f, cubic = 0.044715f;
    const float square = x * x, argument = two_root_of_two_over_pi * x * (1 + cubic * square);
    const float e = exp_of_negative(argument < 0 ? argument : -argument), larger = 1 / (1 + e), smaller = e * larger;
    const float increase = smaller * larger * x * two_root_of_two_over_pi * (1 + 3 * cubic * square);
    return {argument < 0 ? smaller : larger, e > 0 ? increase : 0};  // 0 times infinity, far out
  }
};

template <class Form>
struct Loop {
  /// slope: null, or as many numbers as src.
  WEIR_INLINE void operator()(const float* src, float* dst, float* slope, std::int64_t count) const {
    if (slope) {
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) {
        const float x = src[i];
        const Share of = Form::at(x);
        dst[i] = x * of.share;
        slope[i] = of.share + of.increase;
      }
    } else {
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) dst[i] = src[i] * Form::at(src[i]).share;
    }
  }
};

class Gelu final : public Executable {
 public:
  Gelu(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        slope_(recipe.find("slope") ? pointer<float>(recipe, buffers, "slope") : nullptr),
        blocks_(physical_count(recipe.operand("src").shape), 8192),
        threads_(recipe.threads),
        approximate_(recipe.attributes.flag("approximate")) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      float* const slope = slope_ ? slope_ + begin : nullptr;
      if (approximate_)
        dispatch(Loop<Approximate>{}, src_ + begin, dst_ + begin, slope, end - begin);
      else
        dispatch(Loop<Exact>{}, src_ + begin, dst_ + begin, slope, end - begin);
    });
  }

 private:
  const float* src_;
  float *dst_, *slope_;
  Blocks blocks_;
  int threads_;
  bool approximate_;
};

constexpr OperandRule operands[] = {{"src"}, {"dst", Access::write}, {"slope", Access::write, DType::f32, true}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"approximate"});
  flag_setting(recipe, "approximate");
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "src", "dst");
  if (recipe.find("slope")) check_equal_shapes(recipe, "src", "slope");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Gelu>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "src"}, {"slope", "src"}};

}  // namespace

extern const KernelDef gelu;
const KernelDef gelu{.name = "gelu",
                     .summary = "Gaussian error linear unit, and its derivative",
                     .validate = validate,
                     .create = create,
                     .in_place = in_place};

}  // namespace weir::kernels
