#include "runtime/recipe_timer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>

#include "runtime/kernel.hpp"
#include "runtime/parallel.hpp"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double shortest_sample = 4e-5;  ///< seconds: below, the clock and its noise would be timed
constexpr int most_repeats = 200, least_rounds = 4, most_rounds = 60;
constexpr double patience = 30;    ///< limits, on a machine so busy that no run is like another
constexpr double confirmed = 1.1;  ///< the second fastest run is so close to the fastest
constexpr double hopeless = 2.5;   ///< times as slow as the fastest

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// How many rows of a batch are real: all.
double rows_of(const Recipe& recipe) {
  for (const RecipeOperand& operand : recipe.operands)
    if (!operand.shape.dims.empty()) return static_cast<double>(operand.shape.dims.front());
  return 1;
}

/// Memory for one operand: numbers of both signs, none special; indices, classes and positions in windows are 0, a
/// scalar is `number`.
class Buffer {
 public:
  Buffer(const RecipeOperand& operand, double number) {
    const bool scalar = operand.shape.layout.empty();
    const std::size_t bytes = scalar ? sizeof(double) : byte_count(operand);
    data_.reset(static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 64), alignment)));
    std::memset(data_.get(), 0, std::max<std::size_t>(bytes, 64));
    if (scalar) *reinterpret_cast<double*>(data_.get()) = number;
    if (operand.dtype != DType::f32) return;
    float* values = reinterpret_cast<float*>(data_.get());
    for (std::size_t i = 0; i < bytes / sizeof(float); ++i) values[i] = (static_cast<float>(i * 37 % 101) - 49.5f) / 64;
  }
  void* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Release {
    void operator()(std::byte* data) const { ::operator delete(data, alignment); }
  };
  std::unique_ptr<std::byte, Release> data_;
};

class Timed {
 public:
  explicit Timed(const Recipe& recipe) : threads_(recipe.threads) {
    std::vector<void*> pointers;
    for (const RecipeOperand& operand : recipe.operands)
      pointers.push_back(buffers_.emplace_back(operand, operand.role == "rows" ? rows_of(recipe) : 1).data());
    executable_ = make_executable(recipe, pointers);
    once();  // touches the memory, makes what is made at the first call
    const double first = once();
    repeats_ = static_cast<int>(std::clamp(shortest_sample / std::max(first, 1e-9), 1.0, double{most_repeats}));
    add(first);
  }

  void sample() {
    const ThreadScope scope(threads_);
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < repeats_; ++i) executable_->run();
    add(seconds_since(start) / repeats_);
  }

  double least() const { return least_; }
  bool is_confirmed() const { return second_ <= confirmed * least_; }

 private:
  double once() {
    const ThreadScope scope(threads_);
    const Clock::time_point start = Clock::now();
    executable_->run();
    return seconds_since(start);
  }
  void add(double seconds) {
    second_ = std::min(second_, std::max(least_, seconds));
    least_ = std::min(least_, seconds);
  }

  int threads_;
  std::vector<Buffer> buffers_;
  std::unique_ptr<Executable> executable_;
  double least_ = 1e9, second_ = 1e9;
  int repeats_ = 1;
};

}  // namespace

std::vector<double> time_recipes(std::span<const Recipe> recipes, double limit) {
  const Clock::time_point start = Clock::now();
  std::vector<Timed> timed;
  timed.reserve(recipes.size());
  double fastest = 1e9;
  for (const Recipe& recipe : recipes) fastest = std::min(fastest, timed.emplace_back(recipe).least());
  for (int round = 0; round < most_rounds; ++round) {
    const bool settled = std::all_of(timed.begin(), timed.end(), [](const Timed& each) { return each.is_confirmed(); });
    const double spent = seconds_since(start);
    if (spent > patience * limit || (settled && (round >= least_rounds || spent > limit))) break;
    for (Timed& each : timed) {
      if (each.is_confirmed() && each.least() > hopeless * fastest) continue;
      each.sample();
      fastest = std::min(fastest, each.least());
    }
  }
  std::vector<double> least;
  for (const Timed& each : timed) least.push_back(each.least());
  return least;
}

}  // namespace weir
