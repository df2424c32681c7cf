// What a person sees while training: on a terminal one line that is drawn over, at most ten times a second; elsewhere
// the first step and each epoch, a plain line each.
#pragma once

#include <chrono>
#include <string>

#include "compiler/cli/console.hpp"
#include "runtime/trainer.hpp"

namespace weir::cli {

class Progress {
 public:
  /// epochs, steps: the limits of the run (steps 0: none).
  Progress(const Console& console, std::int64_t epochs, std::uint64_t steps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(const StepEvent& event);
  void epoch(const EpochEvent& event);
  void clear();  ///< takes the drawn line away, before anything else is written

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(const StepEvent& event) const;
  double seconds_left(const StepEvent& event) const;

  const Console& console_;
  std::int64_t epochs_;
  std::uint64_t steps_;
  Clock::time_point start_ = Clock::now(), drawn_{};
  std::int64_t samples_ = 0;  ///< since start_
  std::uint64_t done_ = 0;    ///< steps since start_
  bool visible_ = false;
};

}  // namespace weir::cli
