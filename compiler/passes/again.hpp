// Which steps of a training program can run twice, and what the memory and the time of a program come to where some of
// them do. The numbers behind the pass recompute.
//
// The turn is the first step of the backward section. A step is a candidate where it runs before the turn and its
// result is needed behind it, directly or by another candidate: what it wrote is let go after its last reader before
// the turn, and its copy runs directly before the first reader behind it. Operands of the copy that would be gone by
// then are kept, or made again too, as their own steps are chosen or not.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/passes/lives.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir {

/// A compute step that can run again.
struct Candidate {
  int step = 0;                    ///< among the compute steps, from 0
  std::vector<int> released = {};  ///< values that are let go and made again
  std::vector<int> operands = {};  ///< values of the arena that it reads
  std::uint64_t bytes = 0;         ///< released
  int needed = 0;                  ///< the first step behind the turn that reads what it made; no_step: none
  double seconds = 0;
};

using Chosen = std::vector<bool>;  ///< by candidate

/// One step of the longer program.
struct Entry {
  int step = 0;
  int candidate = -1;  ///< not -1: runs for the second time
};

/// What the longer program would be.
struct Outcome {
  std::vector<std::uint64_t> live;  ///< bytes at each time
  std::uint64_t peak = 0;
  double seconds = 0;  ///< added
};

class Again {
 public:
  explicit Again(const LoweredGraph& lowered);

  const std::vector<Candidate>& candidates() const { return candidates_; }
  /// Of the value's maker; -1 where it has none.
  int maker_of(int value) const { return maker_[static_cast<std::size_t>(value)]; }
  /// The first step behind the turn that touches the value; no_step where none does.
  int needed(int value) const { return needed_[static_cast<std::size_t>(value)]; }
  int turn() const { return turn_; }
  double seconds_of_all() const { return seconds_; }

  std::vector<Entry> order(const Chosen& chosen) const;
  /// What the longer program asks of the arena, as the requests of `apply` would be.
  ArenaRequests requests(const Chosen& chosen) const;
  Outcome outcome(const Chosen& chosen) const;
  /// The longer program.
  LoweredGraph apply(const Chosen& chosen) const;
  Cost cost(const Chosen& chosen) const;

  static constexpr int no_step = 1 << 30;

 private:
  void find_turn();
  void find_makers();
  void find_needs();
  void add_candidate(int step, const std::vector<bool>& fixed);
  const LoweredStep& step_at(int step) const { return lowered_.steps[compute_[static_cast<std::size_t>(step)]]; }
  int root(int value) const { return root_of(lowered_, value); }

  const LoweredGraph& lowered_;
  Timeline timeline_;
  std::vector<std::size_t> compute_;  ///< the compute steps, as indices into steps
  std::vector<Candidate> candidates_;
  std::vector<int> maker_, needed_;  ///< by value
  int turn_ = no_step;
  double seconds_ = 0;
};

/// Of one step: plausible rates of a core, not measured ones, so that a plan is the same wherever it is made.
double estimated_seconds(const Recipe& recipe);

}  // namespace weir
