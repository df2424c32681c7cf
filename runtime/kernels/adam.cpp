// Adam as Keras computes it (D. Kingma, J. Ba, 2015, with the bias correction moved into the step size, so epsilon
// weighs more at first than in the paper), t counting updates from 1:
//   m += (1 - beta_1)·(g - m);  v += (1 - beta_2)·(g² - v)
//   w -= a·m / (√v + epsilon),  a = learning_rate·√(1 - beta_2^t) / (1 - beta_1^t)
// corrected: as PyTorch has it, with epsilon·√(1 - beta_2^t) for epsilon, which is added after the correction then.
// The coefficients are taken in double and rounded once; elements are f32. (Keras takes powers of betas that were
// rounded to f32.)
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/updates.hpp"

namespace weir::kernels {
namespace {

struct AdamLoop {
  float rest_1, rest_2;  ///< 1 - beta
  WEIR_INLINE void operator()(float* __restrict w, const float* __restrict g, float* __restrict m, float* __restrict v,
                              float step, float epsilon, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      m[i] += rest_1 * (g[i] - m[i]);
      v[i] += rest_2 * (g[i] * g[i] - v[i]);
      w[i] -= step * m[i] / (std::sqrt(v[i]) + epsilon);
    }
  }
};

class Adam final : public Executable {
 public:
  Adam(const Recipe& recipe, std::span<void* const> buffers)
      : blocks_(recipe, buffers, {"m", "v"}),
        learning_rate_(pointer<const double>(recipe, buffers, "learning_rate")),
        step_(pointer<const double>(recipe, buffers, "step")),
        beta_1_(recipe.attributes.number("beta_1")),
        beta_2_(recipe.attributes.number("beta_2")),
        epsilon_(recipe.attributes.number("epsilon")),
        corrected_(recipe.attributes.has("corrected") && recipe.attributes.flag("corrected")),
        loop_{static_cast<float>(1 - beta_1_), static_cast<float>(1 - beta_2_)},
        threads_(recipe.threads) {}

  void run() override {
    const double t = *step_, correction = std::sqrt(1 - std::pow(beta_2_, t));
    const auto step = static_cast<float>(*learning_rate_ * correction / (1 - std::pow(beta_1_, t)));
    const auto epsilon = static_cast<float>(corrected_ ? epsilon_ * correction : epsilon_);
    blocks_.for_each(threads_, [&](const UpdateBlock& b) {
      dispatch(loop_, b.parameter, b.gradient, b.states[0], b.states[1], step, epsilon, b.count);
    });
  }

 private:
  UpdateBlocks blocks_;
  const double *learning_rate_, *step_;
  double beta_1_, beta_2_, epsilon_;
  bool corrected_;
  AdamLoop loop_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_update(recipe, {{"parameter", Access::update}, {"m", Access::update}, {"v", Access::update}},
               {{"step", Access::read, DType::f64}});
  check_attribute_names(recipe, {"beta_1", "beta_2", "epsilon", "corrected"});
  if (recipe.attributes.has("corrected")) flag_setting(recipe, "corrected");
  for (const char* beta : {"beta_1", "beta_2"})
    if (number_setting(recipe, beta, 0, 1) == 1) reject(recipe, "a beta must be below 1");
  number_setting(recipe, "epsilon", 1e-30, 3e38);  // above 0 in f32: padding would become 0 / 0
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Adam>(recipe, buffers);
}

constexpr std::string_view repeats[] = {"parameter", "gradient", "m", "v"};

}  // namespace

extern const KernelDef adam;
const KernelDef adam{
    .name = "adam",
    .summary = "Adam update",
    .validate = validate,
    .create = create,
    .repeats = repeats,
};

}  // namespace weir::kernels
