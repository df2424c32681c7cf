#include "runtime/machine.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/parallel.hpp"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

/// Seconds of the fastest of several runs; at least as many as fit in 60 ms.
template <class Body>
double fastest(const Body& body) {
  double least = 1e9;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(60);
  do {
    const Clock::time_point start = Clock::now();
    body();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return least;
}

/// Chains of multiply-adds that do not wait for each other: enough to cover the latency, few enough for the registers.
template <int width>
struct MultiplyAdds {
  static constexpr int chains = 12;
  using Vector = typename kernels::Lanes<width>::Vector;

  WEIR_INLINE float operator()(float factor, float summand, std::int64_t count) const {
    Vector values[chains];
    for (int chain = 0; chain < chains; ++chain) values[chain] = Vector{} + static_cast<float>(chain);
    for (std::int64_t i = 0; i < count; ++i) {
      WEIR_UNROLL
      for (int chain = 0; chain < chains; ++chain) values[chain] = values[chain] * factor + summand;
    }
    Vector sum = values[0];
    for (int chain = 1; chain < chains; ++chain) sum += values[chain];
    return sum[0];
  }
};

/// Of one thread.
template <int width>
double multiply_add_rate() {
  constexpr std::int64_t rounds = 20000;
  float kept = 0;  // is read below, or the compiler would drop the work
  const double seconds = fastest([&] { kept += kernels::dispatch(MultiplyAdds<width>{}, 0.999f, 0.001f, rounds); });
  if (kept < 0) return 0;
  return 2.0 * width * MultiplyAdds<width>::chains * static_cast<double>(rounds) / seconds;
}

/// The shape of an update: one vector rewritten by another.
struct Update {
  WEIR_INLINE void operator()(float* values, const float* others, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) values[i] = values[i] * 0.999f + others[i];
  }
};

/// bytes: of both vectors together, of all threads.
MemoryLevel measure_level(int threads, std::int64_t bytes) {
  const std::int64_t each = bytes / 8 / threads, rounds = std::max<std::int64_t>(1, (std::int64_t{1} << 22) / bytes);
  std::vector<float> values(static_cast<std::size_t>(each * threads), 1.0f), others(values.size(), 0.001f);
  const double seconds = fastest([&] {
    parallel(threads, [&](int index, int) {
      for (std::int64_t round = 0; round < rounds; ++round)
        kernels::dispatch(Update{}, values.data() + index * each, others.data() + index * each, each);
    });
  });
  const auto moved = static_cast<double>(12 * each * threads * rounds);  // two vectors read, one written
  return {static_cast<double>(bytes), moved / seconds};
}

}  // namespace

double Machine::bytes_per_second(double bytes) const {
  for (const MemoryLevel& level : levels)
    if (bytes <= level.bytes) return level.bytes_per_second;
  return levels.empty() ? 0 : levels.back().bytes_per_second;
}

double Machine::seconds_for(double flops, double bytes) const {
  const double rate = bytes_per_second(bytes);
  return std::max(flops_per_second > 0 ? flops / flops_per_second : 0, rate > 0 ? bytes / rate : 0);
}

Machine measure_machine(int threads) {
  Machine machine{.threads = threads};
#if defined(__x86_64__)
  machine.flops_per_second = kernels::instructions() == kernels::Instructions::avx512 ? multiply_add_rate<16>()
                             : kernels::instructions() == kernels::Instructions::avx2 ? multiply_add_rate<8>()
                                                                                      : multiply_add_rate<4>();
#else
  machine.flops_per_second = multiply_add_rate<4>();
#endif
  machine.flops_per_second *= threads;
  for (std::int64_t bytes :
       {std::int64_t{1} << 15, std::int64_t{1} << 18, std::int64_t{1} << 22, std::int64_t{1} << 26}) {
    MemoryLevel level = measure_level(threads, bytes);
    if (threads > 1)  // on a busy machine a team waits for its last thread
      level.bytes_per_second = std::max(level.bytes_per_second, measure_level(1, bytes).bytes_per_second);
    machine.levels.push_back(level);
  }
  return machine;
}

std::string cpu_model() {
  std::ifstream stream("/proc/cpuinfo");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("model name")) {
      const std::size_t begin = line.find_first_not_of(" \t:", line.find(':'));
      return begin == std::string::npos ? "unknown" : line.substr(begin);
    }
  return "unknown";
}

}  // namespace weir
