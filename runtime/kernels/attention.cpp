// dst = softmax(query · keyᵀ / sqrt(key size)) · value, head by head; the probabilities are kept for the gradient. With
// "causal" a time sees the sources up to itself.
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/attention.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/elementary.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {
namespace {

/// One head of one sample.
struct Head {
  const float *query, *key, *value;
  float *probabilities, *dst, *key_columns;
};

/// In sixteen running maxima side by side, which compilers turn into vector code.
WEIR_INLINE float largest(const float* row, std::int64_t count) {
  float most[lanes];
  std::fill_n(most, lanes, row[0]);
  std::int64_t s = 0;
  for (; s + lanes <= count; s += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane)
      most[lane] = row[s + lane] > most[lane] ? row[s + lane] : most[lane];
  for (; s < count; ++s) most[0] = row[s] > most[0] ? row[s] : most[0];
  for (std::int64_t lane = 1; lane < lanes; ++lane) most[0] = most[lane] > most[0] ? most[lane] : most[0];
  return most[0];
}

/// The first `seen` entries become their softmax, the others 0.
WEIR_INLINE void soften(float* row, std::int64_t seen, std::int64_t count, float scale) {
  const float most = largest(row, seen);
  WEIR_INDEPENDENT
  for (std::int64_t s = 0; s < seen; ++s) row[s] = exp_of_negative(scale * (row[s] - most));
  float partial[lanes] = {};
  std::int64_t s = 0;
  for (; s + lanes <= seen; s += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane) partial[lane] += row[s + lane];
  for (; s < seen; ++s) partial[0] += row[s];
  double sum = 0;
  for (float part : partial) sum += static_cast<double>(part);
  const float factor = static_cast<float>(1 / sum);
  WEIR_INDEPENDENT
  for (std::int64_t i = 0; i < seen; ++i) row[i] *= factor;
  std::fill(row + seen, row + count, 0.0f);
}

template <class Product>
struct Loop {
  WEIR_INLINE void operator()(const Head* head, const AttentionSize* size) const {
    const Head h = *head;
    const AttentionSize n = *size;
    transpose({h.key, n.query_row()}, n.sources, n.key, h.key_columns);
    Product::run({h.query, n.query_row()}, {h.key_columns, n.sources}, h.probabilities, n.sources, n.times, n.sources,
                 n.key);
    for (std::int64_t t = 0; t < n.times; ++t)
      soften(h.probabilities + t * n.sources, n.causal ? std::min(t + 1, n.sources) : n.sources, n.sources, n.scale());
    Product::run({h.probabilities, n.sources}, {h.value, n.value_row()}, h.dst, n.value_row(), n.times, n.value,
                 n.sources);
  }
};

class Attention final : public Executable {
 public:
  Attention(const Recipe& recipe, std::span<void* const> buffers)
      : size_(attention_size(recipe)),
        query_(pointer<const float>(recipe, buffers, "query")),
        key_(pointer<const float>(recipe, buffers, "key")),
        value_(pointer<const float>(recipe, buffers, "value")),
        probabilities_(pointer<float>(recipe, buffers, "probabilities")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        threads_(recipe.threads),
        key_columns_(static_cast<std::size_t>(threads_ * size_.key * size_.sources)) {}

  void run() override {
    const std::int64_t heads = size_.batch * size_.heads;
    parallel(heads < 2 ? 1 : threads_, [&](int index, int team) {
      for (std::int64_t head = heads * index / team; head < heads * (index + 1) / team; ++head) compute(head, index);
    });
  }

 private:
  void compute(std::int64_t head, std::int64_t thread) {
    const std::int64_t sample = head / size_.heads, of = head % size_.heads;
    const std::int64_t times = sample * size_.times, sources = sample * size_.sources;
    const Head h{query_ + times * size_.query_row() + of * size_.key,
                 key_ + sources * size_.query_row() + of * size_.key,
                 value_ + sources * size_.value_row() + of * size_.value,
                 probabilities_ + head * size_.times * size_.sources,
                 dst_ + times * size_.value_row() + of * size_.value,
                 key_columns_.data() + thread * size_.key * size_.sources};
    with_products<Loop>(static_cast<const Head*>(&h), static_cast<const AttentionSize*>(&size_));
  }

  AttentionSize size_;
  const float *query_, *key_, *value_;
  float *probabilities_, *dst_;
  int threads_;
  std::vector<float> key_columns_;  ///< a head's keys transposed, for each thread
};

constexpr OperandRule operands[] = {
    {"query"}, {"key"}, {"value"}, {"probabilities", Access::write}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_attention(recipe, "dst");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Attention>(recipe, buffers);
}

}  // namespace

extern const KernelDef attention;
const KernelDef attention{.name = "attention",
                          .summary = "values weighted by the softmax of queries times keys",
                          .validate = validate,
                          .create = create};

}  // namespace weir::kernels
