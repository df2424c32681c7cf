// statistic = statistic·momentum + batch_value·(1 - momentum), in f32 as Keras has it; with `correction`, that times
// batch_value.
#include <deque>

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
      : loop_{static_cast<float>(recipe.attributes.number("momentum")),
              static_cast<float>((1 - recipe.attributes.number("momentum")) *
                                 (recipe.attributes.has("correction") ? recipe.attributes.number("correction") : 1))} {
    for (std::size_t tensor = 0; recipe.find(repeated_role("statistic", tensor)); ++tensor) {
      const std::string statistic = repeated_role("statistic", tensor);
      moves_.push_back({pointer<float>(recipe, buffers, statistic),
                        pointer<const float>(recipe, buffers, repeated_role("batch_value", tensor)),
                        physical_count(recipe.operand(statistic).shape)});
    }
  }

  /// One value a channel: never worth a second thread.
  void run() override {
    for (const Move& move : moves_) dispatch(loop_, move.statistic, move.value, move.count);
  }

 private:
  struct Move {
    float* statistic;
    const float* value;
    std::int64_t count;
  };

  AverageLoop loop_;
  std::vector<Move> moves_;
};

void validate(const Recipe& recipe) {
  std::vector<OperandRule> rules;
  std::deque<std::string> roles;
  std::size_t tensor = 0;
  do {
    const std::string& statistic = roles.emplace_back(repeated_role("statistic", tensor));
    const std::string& value = roles.emplace_back(repeated_role("batch_value", tensor));
    rules.push_back({statistic, Access::update});
    rules.push_back({value});
    if (recipe.find(statistic) && recipe.find(value)) check_equal_shapes(recipe, statistic, value);
  } while (recipe.find(repeated_role("statistic", ++tensor)));
  check_operands(recipe, rules);
  check_attribute_names(recipe, {"momentum", "correction"});
  number_setting(recipe, "momentum", 0, 1);
  if (recipe.attributes.has("correction")) number_setting(recipe, "correction", 1, 2);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<MovingAverage>(recipe, buffers);
}

constexpr std::string_view repeats[] = {"statistic", "batch_value"};

}  // namespace

extern const KernelDef moving_average;
const KernelDef moving_average{
    .name = "moving_average",
    .summary = "moves a statistic towards this batch's value",
    .validate = validate,
    .create = create,
    .repeats = repeats,
};

}  // namespace weir::kernels
