// Work cut into blocks of a fixed size, so that neither the number of threads nor an address changes a bit: threads
// share out whole blocks, and a sum adds the sums of the blocks in their order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {

class Blocks {
 public:
  /// `count` items in blocks of `size`; the last block may be shorter.
  Blocks(std::int64_t count, std::int64_t size) : count_(count), size_(std::max<std::int64_t>(1, size)) {}

  std::int64_t count() const { return (count_ + size_ - 1) / size_; }

  /// body(block, begin, end) once for each block, in any order. Fewer than `worthwhile` blocks are not worth waking a
  /// team.
  template <class Body>
  void for_each(int threads, Body&& body, std::int64_t worthwhile = 4) const {
    const std::int64_t blocks = count();
    parallel(blocks < worthwhile ? 1 : threads, [&](int index, int team) {
      for (std::int64_t block = blocks * index / team; block < blocks * (index + 1) / team; ++block)
        body(block, block * size_, std::min(count_, (block + 1) * size_));
    });
  }

 private:
  std::int64_t count_, size_;
};

/// The value of an item is the sum over blocks of body(begin, end), in double. Owns room for the largest count, so that
/// adding up allocates nothing.
class BlockSum {
 public:
  BlockSum(std::int64_t largest_count, std::int64_t size)
      : size_(size), sums_(static_cast<std::size_t>(Blocks(largest_count, size).count())) {}

  template <class Body>
  double operator()(std::int64_t count, int threads, Body&& body) {
    const Blocks blocks(count, size_);
    blocks.for_each(threads, [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
      sums_[static_cast<std::size_t>(block)] = body(begin, end);
    });
    double sum = 0;
    for (std::int64_t block = 0; block < blocks.count(); ++block) sum += sums_[static_cast<std::size_t>(block)];
    return sum;
  }

 private:
  std::int64_t size_;
  std::vector<double> sums_;
};

/// Σ values in double with eight running sums side by side: independent, so that compilers turn them into vector code,
/// and the same whatever the vector width.
template <class Number>
WEIR_INLINE double lane_sum(const Number* values, std::int64_t count) {
  constexpr int lanes = 8;
  double sums[lanes] = {};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<double>(values[i + lane]);
  for (; i < count; ++i) sums[i % lanes] += static_cast<double>(values[i]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace weir::kernels
