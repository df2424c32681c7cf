// dst = src · Φ(src), Φ the standard normal distribution. Flat over the physical entries: 0 stays 0.
#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/elementary.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Loop {
  WEIR_INLINE void operator()(const float* src, float* dst, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) dst[i] = src[i] * normal(src[i]).distribution;
  }
};

class Gelu final : public Executable {
 public:
  Gelu(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        blocks_(physical_count(recipe.operand("src").shape), 8192),
        threads_(recipe.threads) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      dispatch(Loop{}, src_ + begin, dst_ + begin, end - begin);
    });
  }

 private:
  const float* src_;
  float* dst_;
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {{"src"}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "src", "dst");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Gelu>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "src"}};

}  // namespace

extern const KernelDef gelu;
const KernelDef gelu{.name = "gelu",
                     .summary = "Gaussian error linear unit",
                     .validate = validate,
                     .create = create,
                     .in_place = in_place};

}  // namespace weir::kernels
