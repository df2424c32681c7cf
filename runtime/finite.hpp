// The check before a step is committed: no NaN, no infinity, nothing beyond a bound.
#pragma once

#include <cstdint>

namespace weir {

/// True where |x| <= bound for every entry, so false for NaN and infinities. Bounds above the largest f32 (and 0) mean
/// finite only. Compares the integer representations: without the sign, floats of one sign are ordered as their bits
/// are. threads: how many may look, where there is enough to look at.
bool all_within(const float* data, std::int64_t count, double bound, int threads = 1);

}  // namespace weir
