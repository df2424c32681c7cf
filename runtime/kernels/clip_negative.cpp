// parameter = max(parameter, 0), whatever its layout: padding is 0.
#include "runtime/kernel.hpp"
#include "runtime/kernels/updates.hpp"

namespace weir::kernels {
namespace {

struct Loop {
  WEIR_INLINE void operator()(float* parameter, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) parameter[i] = parameter[i] > 0 ? parameter[i] : 0.0f;
  }
};

class ClipNegative final : public Executable {
 public:
  ClipNegative(const Recipe& recipe, std::span<void* const> buffers)
      : parameter_(pointer<float>(recipe, buffers, "parameter")),
        blocks_(physical_count(recipe.operand("parameter").shape), update_block),
        threads_(recipe.threads) {}

  void run() override {
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      dispatch(Loop{}, parameter_ + begin, end - begin);
    });
  }

 private:
  float* parameter_;
  Blocks blocks_;
  int threads_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"parameter", Access::update}};
  check_operands(recipe, rules);
  check_attribute_names(recipe, {});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ClipNegative>(recipe, buffers);
}

}  // namespace

extern const KernelDef clip_negative;
const KernelDef clip_negative{
    .name = "clip_negative",
    .summary = "entries of a parameter below 0 become 0",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
