// noise = e^(log_variance / 2) · eps and dst = mean + noise, eps standard normal of (seed, name, step, canonical index)
// alone. In double up to the noise.
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/random.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

/// A scalar as seed or step; what is none counts as 0.
std::uint64_t as_counter(double value) { return value >= 0 && value < 0x1p64 ? static_cast<std::uint64_t>(value) : 0; }

class NormalSample final : public Executable {
 public:
  NormalSample(const Recipe& recipe, std::span<void* const> buffers)
      : mean_(pointer<const float>(recipe, buffers, "mean")),
        log_variance_(pointer<const float>(recipe, buffers, "log_variance")),
        seed_(pointer<const double>(recipe, buffers, "seed")),
        step_(pointer<const double>(recipe, buffers, "step")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        noise_(pointer<float>(recipe, buffers, "noise")),
        name_hash_(static_cast<std::uint64_t>(recipe.attributes.integer("name_hash"))),
        blocks_(element_count(recipe.operand("mean").shape.dims), 256),
        threads_(recipe.threads) {}

  void run() override {
    const std::uint64_t key = mix_bits(mix_bits(as_counter(*seed_)) ^ name_hash_), step = as_counter(*step_);
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const double deviation = std::exp(static_cast<double>(log_variance_[i]) / 2);
        noise_[i] = static_cast<float>(deviation * normal(key, step, static_cast<std::uint64_t>(i)));
        dst_[i] = mean_[i] + noise_[i];
      }
    });
  }

 private:
  const float *mean_, *log_variance_;
  const double *seed_, *step_;
  float *dst_, *noise_;
  std::uint64_t name_hash_;
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {{"mean"},
                                    {"log_variance"},
                                    {"seed", Access::read, DType::f64},
                                    {"step", Access::read, DType::f64},
                                    {"dst", Access::write},
                                    {"noise", Access::write}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"name_hash"});
  integer_setting(recipe, "name_hash", std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max());
  check_operands(recipe, operands);
  for (const char* role : {"log_variance", "dst", "noise"}) check_equal_shapes(recipe, "mean", role);
  check_dense(recipe, "mean");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<NormalSample>(recipe, buffers);
}

}  // namespace

extern const KernelDef normal_sample;
const KernelDef normal_sample{
    .name = "normal_sample",
    .summary = "normal sample of a mean and the logarithm of a variance",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
