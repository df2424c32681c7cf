// Before: kernel steps in execution order. After: the same, and some forward steps once more in the backward section,
// so that their results need not be kept from the one to the other.
//   forward   conv -> x   norm(x) -> n   relu(n) -> y   …        backward   …   relu gradient(y)   norm gradient(x)
// becomes
//   backward  …   norm again(x) -> n'   relu again(n') -> y'   relu gradient(y')   norm gradient(x)
// The second run has the same recipe and the same operands, and random numbers are counted, not drawn: no bit differs.
// After lower and group_updates, because only there is known what a step costs and what lives when.
//
// What to compute again is searched greedily: of all moves (a step, or a step with those behind it whose results it
// would need) the one that takes away most of what is above the wanted size for its time, and so on; then whatever
// turned out to be unnecessary is dropped. The size is that of the plan, looked at again after each search.
#include "compiler/passes/recompute.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include "compiler/passes/again.hpp"

namespace weir {
namespace {

/// A choice and what it comes to.
struct Choice {
  Chosen chosen;
  std::uint64_t peak = 0;   ///< bytes live at the fullest step
  std::uint64_t arena = 0;  ///< as planned
  double seconds = 0;       ///< added
};

class Search {
 public:
  explicit Search(const LoweredGraph& lowered)
      : again_(lowered), work_(std::max<long>(200, 8'000'000 / static_cast<long>(lowered.steps.size() + 1))) {}

  const Again& again() const { return again_; }
  Choice nothing() const { return choice(Chosen(again_.candidates().size(), false)); }

  /// From `chosen` on until at most `wanted` bytes are live, or nothing helps any more.
  Choice search(Chosen chosen, std::uint64_t wanted) {
    Outcome now = outcome(chosen);
    while (now.peak > wanted && work_ > 0) {
      const std::optional<Chosen> next = best_move(chosen, now, wanted);
      if (!next) break;
      chosen = *next;
      now = outcome(chosen);
    }
    if (now.peak <= wanted) drop_unnecessary(chosen, wanted);
    return choice(chosen);
  }

  /// Ever smaller sizes until the arena is small enough, each from the one before, or from nothing where that leads
  /// no further.
  std::vector<Choice> path(std::uint64_t arena) {
    return path(arena, [](const Choice&) { return true; });
  }
  /// Those up to the first that is not accepted.
  template <class Accept>
  std::vector<Choice> path(std::uint64_t arena, Accept&& accept) {
    constexpr double far = 0.94, close = 0.985, closest = 0.998;
    std::vector<Choice> choices{nothing()};
    for (double factor : {far, close, closest})
      while (choices.back().arena > arena) {
        const auto wanted = static_cast<std::uint64_t>(static_cast<double>(choices.back().peak) * factor);
        Choice next = search(choices.back().chosen, wanted);
        if (next.peak > wanted)
          if (Choice anew = search(nothing().chosen, wanted); anew.peak < next.peak) next = std::move(anew);
        if (next.peak >= choices.back().peak) break;
        if (!accept(next)) return choices;
        choices.push_back(std::move(next));
        if (choices.back().peak > wanted) break;
      }
    return choices;
  }

 private:
  Outcome outcome(const Chosen& chosen) {
    --work_;
    return again_.outcome(chosen);
  }

  Choice choice(const Chosen& chosen) const {
    const Outcome outcome = again_.outcome(chosen);
    const std::uint64_t arena = plan_memory(again_.requests(chosen).requests).bytes;
    return {chosen, outcome.peak, arena, outcome.seconds};
  }

  static double excess(const std::vector<std::uint64_t>& live, std::uint64_t wanted) {
    double sum = 0;
    for (std::uint64_t bytes : live) sum += bytes > wanted ? static_cast<double>(bytes - wanted) : 0;
    return sum;
  }

  /// Candidates that hold bytes while there is too much, those first that hold most for their time.
  std::vector<int> promising(const Chosen& chosen, const Outcome& now, std::uint64_t wanted) const {
    constexpr std::size_t most = 12;
    std::vector<double> score(again_.candidates().size(), 0);
    std::vector<int> full{0};  // how many too full steps there are before each
    for (std::uint64_t bytes : now.live) full.push_back(full.back() + (bytes > wanted ? 1 : 0));
    std::vector<int> position;  // of each step in the longer program
    int time = 0;
    for (const Entry& entry : again_.order(chosen)) {
      ++time;
      if (entry.candidate < 0) position.push_back(time);
    }
    std::vector<int> order;
    for (std::size_t i = 0; i < score.size(); ++i) {
      const Candidate& candidate = again_.candidates()[i];
      if (chosen[i] || candidate.needed == Again::no_step) continue;
      const auto from = static_cast<std::size_t>(position[static_cast<std::size_t>(candidate.step)]);
      const auto to = static_cast<std::size_t>(position[static_cast<std::size_t>(candidate.needed)]);
      const int crossed = full[std::min(to, full.size() - 1)] - full[std::min(from, full.size() - 1)];
      score[i] = static_cast<double>(candidate.bytes) * crossed / candidate.seconds;
      if (score[i] > 0) order.push_back(static_cast<int>(i));
    }
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
    });
    if (order.size() > most) order.resize(most);
    return order;
  }

  /// Also those whose results the chosen ones read and that would be gone by then.
  bool widen(Chosen& chosen, std::vector<int>& moved) const {
    const std::size_t before = moved.size();
    for (std::size_t i = 0; i < before; ++i) {
      const Candidate& candidate = again_.candidates()[static_cast<std::size_t>(moved[i])];
      for (int operand : candidate.operands) {
        const int maker = again_.maker_of(operand);
        if (maker < 0 || chosen[static_cast<std::size_t>(maker)] || again_.needed(operand) <= candidate.needed)
          continue;
        chosen[static_cast<std::size_t>(maker)] = true;
        moved.push_back(maker);
      }
    }
    return moved.size() > before;
  }

  std::optional<Chosen> best_move(const Chosen& chosen, const Outcome& now, std::uint64_t wanted) {
    constexpr int longest_chain = 6;
    const double before = excess(now.live, wanted);
    std::optional<Chosen> best;
    double best_rate = 0;
    for (int candidate : promising(chosen, now, wanted)) {
      Chosen trial = chosen;
      std::vector<int> moved{candidate};
      trial[static_cast<std::size_t>(candidate)] = true;
      for (int chain = 0; chain < longest_chain; ++chain) {
        const Outcome then = outcome(trial);
        const double rate = (before - excess(then.live, wanted)) / std::max(then.seconds - now.seconds, 1e-9);
        if (rate > best_rate) best_rate = rate, best = trial;
        if (!widen(trial, moved)) break;
      }
    }
    return best;
  }

  /// What takes longest first.
  void drop_unnecessary(Chosen& chosen, std::uint64_t wanted) {
    std::vector<std::size_t> order(chosen.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return again_.candidates()[a].seconds > again_.candidates()[b].seconds;
    });
    for (std::size_t i : order) {
      if (!chosen[i]) continue;
      chosen[i] = false;
      if (outcome(chosen).peak > wanted) chosen[i] = true;
    }
  }

  Again again_;
  long work_;  ///< trials that are left: large models end with what was found by then
};

MemoryPoint point_of(const Again& again, const Choice& choice) {
  const Cost cost = again.cost(choice.chosen);
  MemoryPoint point{choice.arena, cost.flops, cost.bytes, choice.seconds / again.seconds_of_all(), {}};
  const LoweredGraph longer = again.apply(choice.chosen);
  for (const LoweredStep& step : longer.steps)
    if (step.node.ends_with(" again")) point.again.push_back(step.node.substr(0, step.node.size() - 6));
  return point;
}

}  // namespace

LoweredGraph recompute(LoweredGraph lowered, std::uint64_t arena_bytes) {
  Search search(lowered);
  const std::vector<Choice> choices = search.path(arena_bytes);
  Choice best = *std::min_element(choices.begin(), choices.end(), [&](const Choice& a, const Choice& b) {
    const bool a_fits = a.arena <= arena_bytes, b_fits = b.arena <= arena_bytes;
    if (a_fits != b_fits) return a_fits;
    return a_fits ? a.seconds < b.seconds : a.arena < b.arena;
  });
  std::uint64_t wanted = arena_bytes;
  for (int round = 0; round < 4 && best.arena <= arena_bytes; ++round) {
    const Choice direct = search.search(search.nothing().chosen, wanted);
    if (direct.arena <= arena_bytes && direct.seconds < best.seconds) best = direct;
    const std::uint64_t above = direct.arena - std::min(direct.arena, arena_bytes);
    if (above == 0 || above > wanted) break;
    wanted -= above;  // the plan needs a little more than what is live
  }
  return search.again().apply(best.chosen);
}

LoweredGraph recompute_cheap(LoweredGraph lowered) {
  constexpr double most_time = 0.03, least_gain = 10;
  Search search(lowered);
  const double arena = static_cast<double>(search.nothing().arena), seconds = search.again().seconds_of_all();
  const std::vector<Choice> choices = search.path(0, [&](const Choice& choice) {
    const double time = choice.seconds / seconds, saved = 1 - static_cast<double>(choice.arena) / arena;
    return time <= most_time && saved >= least_gain * time;
  });
  return search.again().apply(choices.back().chosen);
}

std::vector<MemoryPoint> memory_curve(const LoweredGraph& lowered) {
  Search search(lowered);
  std::vector<MemoryPoint> points;
  for (const Choice& choice : search.path(0))
    if (points.empty() || choice.arena < points.back().arena_bytes) points.push_back(point_of(search.again(), choice));
  return points;
}

}  // namespace weir
