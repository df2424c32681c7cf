// Stochastic gradient descent as Keras computes it, the learning rate inside the velocity:
//   without momentum: w -= learning_rate·g
//   with it:          v = momentum·v - learning_rate·g;  w += v, or with nesterov w += momentum·v - learning_rate·g
// rate_outside: as PyTorch has it: v = momentum·v + g;  w -= learning_rate·v, or with nesterov
// w -= learning_rate·(momentum·v + g)
#include "runtime/kernel.hpp"
#include "runtime/kernels/updates.hpp"

namespace weir::kernels {
namespace {

struct PlainLoop {
  WEIR_INLINE void operator()(float* __restrict w, const float* __restrict g, float rate, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) w[i] -= rate * g[i];
  }
};

template <bool nesterov>
struct MomentumLoop {
  WEIR_INLINE void operator()(float* __restrict w, const float* __restrict g, float* __restrict v, float momentum,
                              float rate, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      const float pull = rate * g[i];
      v[i] = momentum * v[i] - pull;
      w[i] += nesterov ? momentum * v[i] - pull : v[i];
    }
  }
};

template <bool nesterov>
struct OutsideLoop {
  WEIR_INLINE void operator()(float* __restrict w, const float* __restrict g, float* __restrict v, float momentum,
                              float rate, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      v[i] = momentum * v[i] + g[i];
      w[i] -= rate * (nesterov ? momentum * v[i] + g[i] : v[i]);
    }
  }
};

class Sgd final : public Executable {
 public:
  Sgd(const Recipe& recipe, std::span<void* const> buffers)
      : blocks_(recipe, buffers, {"velocity"}),
        learning_rate_(pointer<const double>(recipe, buffers, "learning_rate")),
        momentum_(static_cast<float>(recipe.attributes.number("momentum"))),
        nesterov_(recipe.attributes.flag("nesterov")),
        rate_outside_(recipe.attributes.has("rate_outside") && recipe.attributes.flag("rate_outside")),
        threads_(recipe.threads) {}

  void run() override {
    const auto rate = static_cast<float>(*learning_rate_);
    blocks_.for_each(threads_, [&](const UpdateBlock& block) { update(block, rate); });
  }

 private:
  void update(const UpdateBlock& block, float rate) const {
    float *w = block.parameter, *v = block.states[0];
    const float* g = block.gradient;
    const std::int64_t count = block.count;
    if (!v) return dispatch(PlainLoop{}, w, g, rate, count);
    if (rate_outside_ && nesterov_) return dispatch(OutsideLoop<true>{}, w, g, v, momentum_, rate, count);
    if (rate_outside_) return dispatch(OutsideLoop<false>{}, w, g, v, momentum_, rate, count);
    if (nesterov_) return dispatch(MomentumLoop<true>{}, w, g, v, momentum_, rate, count);
    dispatch(MomentumLoop<false>{}, w, g, v, momentum_, rate, count);
  }

  UpdateBlocks blocks_;
  const double* learning_rate_;
  float momentum_;
  bool nesterov_, rate_outside_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_update(recipe, {{"parameter", Access::update}, {"velocity", Access::update, DType::f32, true}});
  check_attribute_names(recipe, {"momentum", "nesterov", "rate_outside"});
  if (recipe.attributes.has("rate_outside")) flag_setting(recipe, "rate_outside");
  flag_setting(recipe, "nesterov");
  const double momentum = number_setting(recipe, "momentum", 0, 1);
  if (momentum != 0 && !recipe.find("velocity")) reject(recipe, "momentum needs the operand \"velocity\"");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Sgd>(recipe, buffers);
}

constexpr std::string_view repeats[] = {"parameter", "gradient", "velocity"};

}  // namespace

extern const KernelDef sgd;
const KernelDef sgd{
    .name = "sgd",
    .summary = "stochastic gradient descent, with or without momentum",
    .validate = validate,
    .create = create,
    .repeats = repeats,
};

}  // namespace weir::kernels
