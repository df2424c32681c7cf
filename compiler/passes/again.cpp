#include "compiler/passes/again.hpp"

#include <algorithm>
#include <map>

namespace weir {
namespace {

std::size_t index(int id) { return static_cast<std::size_t>(id); }

/// Which value stands for which in the longer program: those made again stand for those let go.
class Versions {
 public:
  explicit Versions(std::size_t values) : current_(values), next_(static_cast<int>(values)) {
    for (std::size_t id = 0; id < values; ++id) current_[id] = static_cast<int>(id);
  }

  int current(int value) const { return current_[index(value)]; }
  int fresh() { return next_++; }
  void replace(int value, int by) { current_[index(value)] = by; }

 private:
  std::vector<int> current_;
  int next_;
};

bool reads_only(Access access) { return access == Access::read; }

}  // namespace

double estimated_seconds(const Recipe& recipe) {
  constexpr double flops_per_second = 25e9, bytes_per_second = 6e9, a_call = 1e-6;
  const Cost cost = cost_of(recipe);
  const double work = std::max(cost.flops / flops_per_second, static_cast<double>(cost.bytes) / bytes_per_second);
  return a_call + work / std::max(recipe.threads, 1);
}

Again::Again(const LoweredGraph& lowered) : lowered_(lowered), timeline_(timeline_of(lowered)) {
  for (std::size_t i = 0; i < lowered.steps.size(); ++i) {
    seconds_ += estimated_seconds(lowered.steps[i].recipe);
    if (lowered.steps[i].phase == Phase::compute) compute_.push_back(i);
  }
  find_turn();
  find_needs();
  find_makers();
}

/// The first step that touches a gradient.
void Again::find_turn() {
  for (std::size_t step = 0; step < timeline_.steps.size() && turn_ == no_step; ++step)
    for (int value : timeline_.steps[step].touched)
      if (lowered_.values[index(value)].kind == BufferClass::gradient) turn_ = static_cast<int>(step);
}

void Again::find_needs() {
  needed_.assign(lowered_.values.size(), no_step);
  for (int step = static_cast<int>(timeline_.steps.size()) - 1; step >= turn_; --step)
    for (int value : timeline_.steps[index(step)].touched) needed_[index(value)] = step;
}

/// A value that is written twice, or read and rewritten, is no value that can be had again.
void Again::find_makers() {
  std::vector<int> writers(lowered_.values.size(), 0);
  std::vector<bool> fixed(lowered_.values.size(), false);
  for (std::size_t at : compute_) {
    const LoweredStep& step = lowered_.steps[at];
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const int value = root(step.operands[i]);
      if (step.recipe.operands[i].access == Access::update) fixed[index(value)] = true;
      if (step.recipe.operands[i].access == Access::write) ++writers[index(value)];
    }
  }
  for (std::size_t value = 0; value < fixed.size(); ++value) fixed[value] = fixed[value] || writers[value] > 1;
  maker_.assign(lowered_.values.size(), -1);
  for (int step = 0; step < std::min(turn_, static_cast<int>(compute_.size())); ++step) add_candidate(step, fixed);
}

void Again::add_candidate(int at, const std::vector<bool>& fixed) {
  const LoweredStep& step = step_at(at);
  if (step.watched) return;
  Candidate candidate{.step = at, .needed = no_step, .seconds = estimated_seconds(step.recipe)};
  for (std::size_t i = 0; i < step.operands.size(); ++i) {
    const int value = root(step.operands[i]);
    const LoweredValue& what = lowered_.values[index(value)];
    const bool read = reads_only(step.recipe.operands[i].access);
    if (what.kind == BufferClass::scratch) continue;
    if (fixed[index(value)] || (!read && what.is_scalar)) return;
    if (!is_in_arena(what)) continue;
    if (read) {
      candidate.operands.push_back(value);
    } else if (!timeline_.from_start[index(value)] && !timeline_.to_end[index(value)] &&
               (what.kind == BufferClass::activation || what.kind == BufferClass::copy)) {
      candidate.released.push_back(value);
      candidate.bytes += timeline_.bytes[index(value)];
      candidate.needed = std::min(candidate.needed, needed(value));
    }
  }
  if (candidate.released.empty()) return;
  for (int value : candidate.released) maker_[index(value)] = static_cast<int>(candidates_.size());
  candidates_.push_back(std::move(candidate));
}

/// Later steps are looked at first: what they need decides when earlier ones run again.
std::vector<Entry> Again::order(const Chosen& chosen) const {
  std::vector<int> when(candidates_.size());
  for (std::size_t i = 0; i < candidates_.size(); ++i) when[i] = candidates_[i].needed;
  for (std::size_t i = candidates_.size(); i-- > 0;)
    if (chosen[i])
      for (int operand : candidates_[i].operands)
        if (const int maker = maker_of(operand); maker >= 0) when[index(maker)] = std::min(when[index(maker)], when[i]);
  std::vector<std::vector<int>> before(compute_.size());
  for (std::size_t i = 0; i < candidates_.size(); ++i)
    if (chosen[i] && when[i] != no_step) before[index(when[i])].push_back(static_cast<int>(i));
  std::vector<Entry> entries;
  for (int step = 0; step < static_cast<int>(compute_.size()); ++step) {
    for (int candidate : before[index(step)]) entries.push_back({candidates_[index(candidate)].step, candidate});
    entries.push_back({step});
  }
  return entries;
}

ArenaRequests Again::requests(const Chosen& chosen) const {
  Versions versions(lowered_.values.size());
  Timeline longer{{}, timeline_.bytes, timeline_.from_start, timeline_.to_end};
  longer.steps.reserve(2 * timeline_.steps.size());
  std::map<int, int> here;  // of this step alone
  for (const Entry& entry : order(chosen)) {
    StepLives lives = timeline_.steps[index(entry.step)];
    here.clear();
    if (entry.candidate >= 0) {
      const Candidate& candidate = candidates_[index(entry.candidate)];
      for (int value : lives.touched) {
        if (std::find(candidate.operands.begin(), candidate.operands.end(), value) != candidate.operands.end())
          continue;
        if (!here.try_emplace(value, -1).second) continue;
        here[value] = versions.fresh();
        longer.bytes.push_back(timeline_.bytes[index(value)]);
        longer.from_start.push_back(false);
        longer.to_end.push_back(false);
      }
    }
    const auto renamed = [&](int value) {
      const auto found = here.find(value);
      return found == here.end() ? versions.current(value) : found->second;
    };
    for (int& value : lives.touched) value = renamed(value);
    for (auto& [written, read] : lives.in_place) written = renamed(written), read = renamed(read);
    longer.steps.push_back(std::move(lives));
    if (entry.candidate >= 0)
      for (int value : candidates_[index(entry.candidate)].released) versions.replace(value, here.at(value));
  }
  return requests_of(longer);
}

Outcome Again::outcome(const Chosen& chosen) const {
  Outcome outcome;
  for (const Entry& entry : order(chosen))
    if (entry.candidate >= 0) outcome.seconds += candidates_[index(entry.candidate)].seconds;
  outcome.live = live_bytes(requests(chosen).requests);
  outcome.peak = *std::max_element(outcome.live.begin(), outcome.live.end());
  return outcome;
}

LoweredGraph Again::apply(const Chosen& chosen) const {
  LoweredGraph longer = lowered_;
  longer.steps.clear();
  const auto add_phase = [&](Phase phase) {
    for (const LoweredStep& step : lowered_.steps)
      if (step.phase == phase) longer.steps.push_back(step);
  };
  add_phase(Phase::refresh);
  Versions versions(lowered_.values.size());
  std::map<int, int> views;  // an alias of a value that was let go → one of the value made again
  for (const Entry& entry : order(chosen)) {
    LoweredStep step = step_at(entry.step);
    const bool again = entry.candidate >= 0;
    std::map<int, int> here;
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const int value = root(step.operands[i]);
      const LoweredValue made = lowered_.values[index(value)];
      const bool remade = again && is_in_arena(made) &&
                          (!reads_only(step.recipe.operands[i].access) || made.kind == BufferClass::scratch);
      if (remade && !here.contains(value)) {
        here[value] = static_cast<int>(longer.values.size());
        longer.values.push_back(made);
        longer.values.back().name += " again";
      }
      const int now = remade ? here[value] : versions.current(value);
      if (now == value) continue;
      if (value == step.operands[i]) {
        step.operands[i] = now;
        continue;
      }
      const auto [view, added] = views.try_emplace(step.operands[i], static_cast<int>(longer.values.size()));
      if (added) {
        longer.values.push_back(lowered_.values[index(step.operands[i])]);
        longer.values.back().alias_of = now;
      }
      step.operands[i] = view->second;
    }
    if (again) {
      step.node += " again";
      for (int value : candidates_[index(entry.candidate)].released) versions.replace(value, here.at(value));
    }
    longer.steps.push_back(std::move(step));
  }
  add_phase(Phase::commit);
  return longer;
}

Cost Again::cost(const Chosen& chosen) const {
  Cost cost;
  for (const Entry& entry : order(chosen))
    if (entry.candidate >= 0) cost += cost_of(step_at(entry.step).recipe);
  return cost;
}

}  // namespace weir
