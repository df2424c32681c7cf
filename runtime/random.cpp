#include "runtime/random.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "runtime/error.hpp"

namespace weir {

void fill_uniform(std::span<float> values, std::uint64_t key, std::uint64_t step, std::uint64_t first_element) {
  float chunk[uniform_chunk_size];
  std::size_t done = 0;
  while (done < values.size()) {
    const std::uint64_t element = first_element + done;
    const std::size_t skip = element % 4;
    uniform_chunk(chunk, key, step, element / 4);
    const std::size_t count = std::min(uniform_chunk_size - skip, values.size() - done);
    std::copy_n(chunk + skip, count, values.data() + done);
    done += count;
  }
}

// D. Lemire, "Fast random integer generation in an interval", ACM TOMACS 29 (2019): the high half of word * bound is
// uniform once the words whose low half falls below 2^32 mod bound are thrown away. The words tried are those of block
// `element`, then of the same block with the next attempt in the upper half of the counter.
std::uint32_t uniform_integer(std::uint64_t key, std::uint64_t step, std::uint32_t element, std::uint32_t bound) {
  WEIR_CHECK(bound > 0, "a random integer below 0 was asked for");
  const std::uint32_t threshold = (0u - bound) % bound;
  for (std::uint64_t attempt = 0;; ++attempt) {
    for (std::uint32_t word : philox(key, step, attempt << 32 | element)) {
      const std::uint64_t product = std::uint64_t{word} * bound;
      if (static_cast<std::uint32_t>(product) >= threshold) return static_cast<std::uint32_t>(product >> 32);
    }
  }
}

// Box and Muller 1958, one value a block: sqrt(-2 ln u) cos(2 pi v), u in (0, 1], v in [0, 1), 53 bits each.
double normal(std::uint64_t key, std::uint64_t step, std::uint64_t element) {
  const auto words = philox(key, step, element);
  const double u = static_cast<double>(((std::uint64_t{words[0]} << 32 | words[1]) >> 11) + 1) * 0x1p-53;
  const double v = static_cast<double>((std::uint64_t{words[2]} << 32 | words[3]) >> 11) * 0x1p-53;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

double truncated_normal(std::uint64_t key, std::uint64_t element) {
  for (std::uint64_t attempt = 0;; ++attempt) {
    const double value = normal(key, attempt, element);
    if (std::abs(value) <= 2) return value;
  }
}

// Fisher and Yates: position i takes one of the i + 1 first.
std::vector<std::uint32_t> permutation(std::uint32_t count, std::uint64_t key, std::uint64_t epoch) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  for (std::uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[uniform_integer(key, epoch, i - 1, i)]);
  return order;
}

}  // namespace weir
