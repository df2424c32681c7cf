// dst = src / (1 - rate) where u >= rate, else 0; u is uniform in [0, 1) and depends on (seed, name, step, canonical
// index) alone, so the same recipe on a gradient uses the same entries, and no mask is kept. rate 1 gives zeros.
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/random.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

constexpr std::int64_t block_size = 4096;  // a multiple of the random numbers' chunk
static_assert(block_size % static_cast<std::int64_t>(uniform_chunk_size) == 0);

/// A scalar as seed or step; what is none counts as 0.
std::uint64_t counter(double value) { return value >= 0 && value < 0x1p64 ? static_cast<std::uint64_t>(value) : 0; }

/// The least uniform number that is kept. Uniforms are multiples of 2^-24, so this compares exactly as the double
/// would.
float threshold(double rate) { return static_cast<float>(std::ceil(rate * 0x1p24) * 0x1p-24); }

/// `first` is a multiple of the chunk size.
struct Loop {
  float least, scale;
  WEIR_INLINE void operator()(const float* src, float* dst, std::uint64_t key, std::uint64_t step, std::int64_t first,
                              std::int64_t end) const {
    constexpr auto chunk = static_cast<std::int64_t>(uniform_chunk_size);
    for (; first < end; first += chunk) {
      float u[uniform_chunk_size];
      uniform_chunk(u, key, step, static_cast<std::uint64_t>(first) / 4);
      const std::int64_t count = std::min(chunk, end - first);
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) dst[first + i] = u[i] >= least ? src[first + i] * scale : 0.0f;
    }
  }
};

class Dropout final : public Executable {
 public:
  Dropout(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        seed_(pointer<const double>(recipe, buffers, "seed")),
        step_(pointer<const double>(recipe, buffers, "step")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        name_hash_(static_cast<std::uint64_t>(recipe.attributes.integer("name_hash"))),
        blocks_(element_count(recipe.operand("src").shape.dims), block_size),
        threads_(recipe.threads) {
    const double rate = recipe.attributes.number("rate");
    loop_ = {threshold(rate), rate < 1 ? static_cast<float>(1 / (1 - rate)) : 0.0f};
  }

  void run() override {
    const std::uint64_t key = mix_bits(mix_bits(counter(*seed_)) ^ name_hash_);
    const auto step = counter(*step_);
    blocks_.for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      dispatch(loop_, src_, dst_, key, step, begin, end);
    });
  }

 private:
  const float* src_;
  const double *seed_, *step_;
  float* dst_;
  std::uint64_t name_hash_;
  Loop loop_{};
  Blocks blocks_;
  int threads_;
};

constexpr OperandRule operands[] = {
    {"src"}, {"seed", Access::read, DType::f64}, {"step", Access::read, DType::f64}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {"rate", "name_hash"});
  number_setting(recipe, "rate", 0, 1);
  integer_setting(recipe, "name_hash", std::numeric_limits<std::int64_t>::min(),
                  std::numeric_limits<std::int64_t>::max());
  check_operands(recipe, operands);
  check_equal_shapes(recipe, "src", "dst");
  check_dense(recipe, "src");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Dropout>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"dst", "src"}};

}  // namespace

extern const KernelDef dropout;
const KernelDef dropout{.name = "dropout",
                        .summary = "zero at random, the rest scaled up; also its own gradient",
                        .validate = validate,
                        .create = create,
                        .in_place = in_place};

}  // namespace weir::kernels
