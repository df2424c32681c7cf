// The check before a step is committed: no NaN, no infinity, nothing beyond a bound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weir {

struct Bounded {
  const float* data;
  std::int64_t count;
  double bound;  ///< above the largest f32, or 0: finite only
};

/// The first of the tensors that has an entry beyond its bound, NaNs and infinities among them; how many there are
/// where none has. Threads share out the entries of all of them, where there is enough to look at.
std::size_t first_beyond(std::span<const Bounded> tensors, int threads);

/// True where |x| <= bound for every entry, so false for NaN and infinities.
inline bool all_within(const float* data, std::int64_t count, double bound) {
  const Bounded tensor{data, count, bound};
  return first_beyond({&tensor, 1}, 1) == 1;
}

}  // namespace weir
