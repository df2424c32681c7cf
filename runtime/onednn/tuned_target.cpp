// The machine at hand, with the clock in place of rules. Every open recipe is decided once: from the table where it
// stands there, else by timing its ways while there is time left.
#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "runtime/error.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/onednn/ways.hpp"
#include "runtime/recipe_timer.hpp"
#include "runtime/tuning.hpp"

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

/// Another way must be clearly faster than the usual one: below this, what differs is the noise of the clock.
constexpr double clearly = 0.95;
constexpr double seconds_for_one = 0.01;

struct Way {
  std::string name;
  Recipe closed;
};

struct Decision {
  Recipe closed;
  double seconds = 0;
  bool choice = false;   ///< there were several ways
  bool changed = false;  ///< not the usual one
};

bool is_hopeless(const Recipe& closed) {
  return is_primitive(closed.kernel) && primitive_implementation(closed).starts_with("ref");
}

/// The usual one, and what else the machine has a real kernel for.
std::vector<Way> closed_ways(const Recipe& open) {
  std::vector<Way> ways;
  for (const Recipe& way : ways_of(open)) {
    Recipe closed;
    try {
      closed = close_way(way);
    } catch (const Error&) {
      if (ways.empty()) throw;  // the usual one: nothing can compute it
      continue;
    }
    const bool known = std::any_of(ways.begin(), ways.end(), [&](const Way& other) { return other.closed == closed; });
    if (!known && (ways.empty() || !is_hopeless(closed))) ways.push_back({name_of_way(way), std::move(closed)});
  }
  return ways;
}

class ClockTarget final : public TunedTarget {
 public:
  ClockTarget(int threads, const TuningOptions& options) : host_(host_target(threads)), options_(options) {
    WEIR_CHECK(options.table, "tuning needs a table");
  }

  Recipe close(const Recipe& open) const override {
    const std::scoped_lock lock(mutex_);
    const Decision& decision = decide(open, false);
    closed_.insert(to_string(open));
    return decision.closed;
  }
  double seconds(const Recipe& recipe) const override {
    const std::scoped_lock lock(mutex_);
    return decide(recipe, true).seconds;
  }

  std::string activation_layout(const Dims& dims, const std::string& axes) const override {
    return host_->activation_layout(dims, axes);
  }
  std::string other_activation_layout(const Dims& dims, const std::string& axes) const override {
    return host_->other_activation_layout(dims, axes);
  }
  std::string implementation(const Recipe& closed) const override { return host_->implementation(closed); }
  Fingerprint fingerprint() const override { return host_->fingerprint(); }

  TuningReport report() const override {
    const std::scoped_lock lock(mutex_);
    TuningReport report;
    for (const auto& [text, decision] : decisions_)
      if (closed_.contains(text) && decision.choice) report.timed++, report.changed += decision.changed;
    return report;
  }

 private:
  /// timed: the seconds are wanted even where there is nothing to choose.
  const Decision& decide(const Recipe& open, bool timed) const {
    const std::string text = to_string(open);
    if (const auto found = decisions_.find(text); found != decisions_.end() && (!timed || found->second.seconds > 0))
      return found->second;
    const std::vector<Way> ways = closed_ways(open);
    Decision decision{ways.front().closed, 0, ways.size() > 1, false};
    if (decision.choice || timed) {
      const TunedStep step = look_up(text, ways, open);
      const auto chosen = std::find_if(ways.begin(), ways.end(), [&](const Way& way) { return way.name == step.way; });
      decision.closed = chosen->closed;
      decision.seconds = step.seconds;
      decision.changed = chosen != ways.begin();
    }
    return decisions_[text] = std::move(decision);
  }

  TunedStep look_up(const std::string& text, const std::vector<Way>& ways, const Recipe& open) const {
    if (const auto found = options_.table->find(text); found != options_.table->end()) {
      const auto same = [&](const Way& way) { return way.name == found->second.way; };
      if (found->second.seconds > 0 && std::any_of(ways.begin(), ways.end(), same)) return found->second;
    }
    if (spent_ >= options_.most_seconds) return {ways.front().name, host_->seconds(open), 0};
    return (*options_.table)[text] = time(ways);
  }

  TunedStep time(const std::vector<Way>& ways) const {
    const Clock::time_point start = Clock::now();
    std::vector<Recipe> recipes;
    for (const Way& way : ways) recipes.push_back(way.closed);
    const std::vector<double> seconds = time_recipes(recipes, seconds_for_one);
    auto best = static_cast<std::size_t>(std::min_element(seconds.begin(), seconds.end()) - seconds.begin());
    if (seconds[best] > clearly * seconds[0]) best = 0;
    spent_ += std::chrono::duration<double>(Clock::now() - start).count();
    ++timed_;
    if (options_.progress) options_.progress(timed_, spent_);
    return {ways[best].name, std::max(seconds[best], 1e-9), seconds[0]};
  }

  std::unique_ptr<Target> host_;
  TuningOptions options_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Decision> decisions_;  ///< by the open recipe's text
  mutable std::set<std::string> closed_;
  mutable double spent_ = 0;
  mutable int timed_ = 0;
};

}  // namespace

std::unique_ptr<TunedTarget> tuned_target(int threads, const TuningOptions& options) {
  return std::make_unique<ClockTarget>(threads, options);
}

}  // namespace weir
