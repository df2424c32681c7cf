// statistic = statistic·momentum + batch_value·(1 - momentum), in f32 as Keras has it; with `correction`, that times
// batch_value.
#include "runtime/kernel.hpp"
#include "runtime/kernels/updates.hpp"

namespace weir::kernels {
namespace {

struct AverageLoop {
  float momentum, rest;
  WEIR_INLINE void operator()(float* __restrict statistic, const float* __restrict value, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) statistic[i] = statistic[i] * momentum + value[i] * rest;
  }
};

class MovingAverage final : public Executable {
 public:
  MovingAverage(const Recipe& recipe, std::span<void* const> buffers)
      : statistic_(pointer<float>(recipe, buffers, "statistic")),
        value_(pointer<const float>(recipe, buffers, "batch_value")),
        loop_{static_cast<float>(recipe.attributes.number("momentum")),
              static_cast<float>((1 - recipe.attributes.number("momentum")) *
                                 (recipe.attributes.has("correction") ? recipe.attributes.number("correction") : 1))},
        count_(physical_count(recipe.operand("statistic").shape)) {}

  /// One value a channel: never worth a second thread.
  void run() override { dispatch(loop_, statistic_, value_, count_); }

 private:
  float* statistic_;
  const float* value_;
  AverageLoop loop_;
  std::int64_t count_;
};

void validate(const Recipe& recipe) {
  const OperandRule rules[] = {{"statistic", Access::update}, {"batch_value"}};
  check_operands(recipe, rules);
  check_equal_shapes(recipe, "statistic", "batch_value");
  check_attribute_names(recipe, {"momentum", "correction"});
  number_setting(recipe, "momentum", 0, 1);
  if (recipe.attributes.has("correction")) number_setting(recipe, "correction", 1, 2);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<MovingAverage>(recipe, buffers);
}

}  // namespace

extern const KernelDef moving_average;
const KernelDef moving_average{
    .name = "moving_average",
    .summary = "moves a statistic towards this batch's value",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
