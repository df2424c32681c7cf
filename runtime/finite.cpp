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

/// The largest magnitude, as bits: without the sign, floats are ordered as their bits are, and NaNs lie above infinity.
/// Side by side in lanes, which compilers turn into vector
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

bool is_within(const float* data, std::int64_t count, std::uint32_t most) {
  for (std::int64_t begin = 0; begin < count; begin += chunk)
    if (kernels::dispatch(LargestBits{}, data + begin, std::min(chunk, count - begin)) > most) return false;
  return true;
}

/// The same for entries [first, last) of all tensors, counted through.
std::size_t first_beyond_in(std::span<const Bounded> tensors, std::int64_t first, std::int64_t last) {
  for (std::size_t i = 0; i < tensors.size() && last > 0; ++i) {
    const Bounded& tensor = tensors[i];
    const std::int64_t begin = std::max<std::int64_t>(first, 0), end = std::min(last, tensor.count);
    if (begin < end &&
        !is_within(tensor.data + begin, end - begin, std::bit_cast<std::uint32_t>(rounded_down(tensor.bound))))
      return i;
    first -= tensor.count, last -= tensor.count;
  }
  return tensors.size();
}

}  // namespace

std::size_t first_beyond(std::span<const Bounded> tensors, int threads) {
  std::int64_t count = 0;
  for (const Bounded& tensor : tensors) count += tensor.count;
  std::atomic<std::size_t> first{tensors.size()};
  parallel(count < worth_a_team ? 1 : threads, [&](int index, int team) {
    const std::size_t found = first_beyond_in(tensors, count * index / team, count * (index + 1) / team);
    std::size_t known = first;
    while (found < known && !first.compare_exchange_weak(known, found)) {
    }
  });
  return first;
}

}  // namespace weir
