#include "runtime/finite.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace weir {
namespace {

constexpr std::int64_t chunk = 4096, worth_a_team = 1 << 17;

/// The largest magnitude, as bits: NaNs lie above infinity. Side by side in lanes, which compilers turn into vector
/// code.
struct LargestBits {
  WEIR_INLINE std::uint32_t operator()(const float* data, std::int64_t count) const {
    constexpr std::int64_t lanes = 64;
    std::uint32_t largest[lanes] = {};
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        largest[lane] = std::max(largest[lane], magnitude(data[i + lane]));
    for (std::int64_t lane = 0; i < count; ++i, ++lane) largest[lane] = std::max(largest[lane], magnitude(data[i]));
    return *std::max_element(largest, largest + lanes);
  }

 private:
  WEIR_INLINE static std::uint32_t magnitude(float value) { return std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFu; }
};

/// The largest float that is not above the bound.
float rounded_down(double bound) {
  constexpr double most = std::numeric_limits<float>::max();
  if (!(bound > 0) || bound >= most) return std::numeric_limits<float>::max();
  const auto nearest = static_cast<float>(bound);
  return nearest > bound ? std::nextafter(nearest, 0.0f) : nearest;
}

}  // namespace

bool all_within(const float* data, std::int64_t count, double bound, int threads) {
  const auto most = std::bit_cast<std::uint32_t>(rounded_down(bound));
  const auto holds = [&](std::int64_t begin, std::int64_t end) {
    for (; begin < end; begin += chunk)
      if (kernels::dispatch(LargestBits{}, data + begin, std::min(chunk, end - begin)) > most) return false;
    return true;
  };
  if (threads <= 1 || count < worth_a_team) return holds(0, count);
  std::atomic<bool> all{true};
  parallel(threads, [&](int index, int team) {
    if (!holds(count * index / team, count * (index + 1) / team)) all = false;
  });
  return all;
}

}  // namespace weir
