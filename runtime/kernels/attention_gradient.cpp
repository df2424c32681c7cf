// With P the probabilities and s = 1 / sqrt(key size), head by head:
//   d_value = Pᵀ · d_dst,  D = d_dst · valueᵀ,  S = s · P (D - sum over sources of P · D),
//   d_query = S · key,  d_key = Sᵀ · query
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/attention.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {
namespace {

/// One head of one sample.
struct Head {
  const float *query, *key, *value, *probabilities, *d_dst;
  float *d_query, *d_key, *d_value, *value_columns, *d_scores;
};

/// D to S, in one row.
WEIR_INLINE void through_softmax(const float* probabilities, float* row, std::int64_t count, float scale) {
  float partial[lanes] = {};
  std::int64_t s = 0;
  for (; s + lanes <= count; s += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane) partial[lane] += probabilities[s + lane] * row[s + lane];
  for (; s < count; ++s) partial[0] += probabilities[s] * row[s];
  double sum = 0;
  for (float part : partial) sum += static_cast<double>(part);
  const float mean = static_cast<float>(sum);
  WEIR_INDEPENDENT
  for (std::int64_t i = 0; i < count; ++i) row[i] = scale * probabilities[i] * (row[i] - mean);
}

template <class Product>
struct Loop {
  WEIR_INLINE void operator()(const Head* head, const AttentionSize* size) const {
    const Head h = *head;
    const AttentionSize n = *size;
    Product::run({h.probabilities, 1, n.sources}, {h.d_dst, n.value_row()}, h.d_value, n.value_row(), n.sources,
                 n.value, n.times);
    transpose({h.value, n.value_row()}, n.sources, n.value, h.value_columns);
    Product::run({h.d_dst, n.value_row()}, {h.value_columns, n.sources}, h.d_scores, n.sources, n.times, n.sources,
                 n.value);
    for (std::int64_t t = 0; t < n.times; ++t)
      through_softmax(h.probabilities + t * n.sources, h.d_scores + t * n.sources, n.sources, n.scale());
    Product::run({h.d_scores, n.sources}, {h.key, n.query_row()}, h.d_query, n.query_row(), n.times, n.key, n.sources);
    Product::run({h.d_scores, 1, n.sources}, {h.query, n.query_row()}, h.d_key, n.query_row(), n.sources, n.key,
                 n.times);
  }
};

class AttentionGradient final : public Executable {
 public:
  AttentionGradient(const Recipe& recipe, std::span<void* const> buffers)
      : size_(attention_size(recipe)),
        query_(pointer<const float>(recipe, buffers, "query")),
        key_(pointer<const float>(recipe, buffers, "key")),
        value_(pointer<const float>(recipe, buffers, "value")),
        probabilities_(pointer<const float>(recipe, buffers, "probabilities")),
        d_dst_(pointer<const float>(recipe, buffers, "d_dst")),
        d_query_(pointer<float>(recipe, buffers, "d_query")),
        d_key_(pointer<float>(recipe, buffers, "d_key")),
        d_value_(pointer<float>(recipe, buffers, "d_value")),
        threads_(recipe.threads),
        value_columns_(static_cast<std::size_t>(threads_ * size_.value * size_.sources)),
        d_scores_(static_cast<std::size_t>(threads_ * size_.times * size_.sources)) {}

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
    const std::int64_t query = times * size_.query_row() + of * size_.key;
    const std::int64_t key = sources * size_.query_row() + of * size_.key;
    const std::int64_t value = sources * size_.value_row() + of * size_.value;
    const Head h{query_ + query,
                 key_ + key,
                 value_ + value,
                 probabilities_ + head * size_.times * size_.sources,
                 d_dst_ + times * size_.value_row() + of * size_.value,
                 d_query_ + query,
                 d_key_ + key,
                 d_value_ + value,
                 value_columns_.data() + thread * size_.value * size_.sources,
                 d_scores_.data() + thread * size_.times * size_.sources};
    with_products<Loop>(static_cast<const Head*>(&h), static_cast<const AttentionSize*>(&size_));
  }

  AttentionSize size_;
  const float *query_, *key_, *value_, *probabilities_, *d_dst_;
  float *d_query_, *d_key_, *d_value_;
  int threads_;
  std::vector<float> value_columns_, d_scores_;  ///< of a head, for each thread
};

constexpr OperandRule operands[] = {{"query"},
                                    {"key"},
                                    {"value"},
                                    {"probabilities"},
                                    {"d_dst"},
                                    {"d_query", Access::write},
                                    {"d_key", Access::write},
                                    {"d_value", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_attention(recipe, "d_dst");
  for (const char* role : {"query", "key", "value"}) check_equal_shapes(recipe, role, std::string("d_") + role);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<AttentionGradient>(recipe, buffers);
}

}  // namespace

extern const KernelDef attention_gradient;
const KernelDef attention_gradient{.name = "attention_gradient",
                                   .summary = "gradient of attention by queries, keys and values",
                                   .validate = validate,
                                   .create = create};

}  // namespace weir::kernels
