// What weir bench measured: the steps of an update with their times, beside what the machine could do at best.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/machine.hpp"
#include "runtime/plan.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir::cli {

/// What people look for first: arithmetic, memory, or bytes moved to other places only.
constexpr std::array<std::string_view, 3> step_kinds{"products", "memory", "reorders"};
/// Parts of an update in the order in which they run; "copies" are of weights, in other layouts.
constexpr std::array<std::string_view, 4> step_phases{"copies", "forward", "backward", "update"};

struct StepTime {
  std::string node;   ///< what it does: "conv_1 gradient_input"
  std::string layer;  ///< whose it is: "conv_1"; of an update of several: "10 parameters"
  std::string kernel;
  std::string_view when;   ///< "refresh", "compute", "commit"
  std::string_view phase;  ///< of step_phases
  std::string_view kind;   ///< of step_kinds
  int threads = 1;
  Cost cost = {};
  double limit = 0;    ///< seconds that the machine needs at least
  double seconds = 0;  ///< median
  double least = 0;    ///< fastest
};

struct Measured {
  std::vector<StepTime> steps;
  double whole = 0, least = 0;  ///< seconds of an update, without the clock in it: median and fastest

  /// Over the steps of a kind, or over all where it is "".
  double of(std::string_view kind, double StepTime::*number) const;
  double overhead() const { return whole - of("", &StepTime::seconds); }
  double limit() const { return of("", &StepTime::limit); }
};

/// Every step of the program, with its limit and without times.
std::vector<StepTime> steps_of(const Plan& plan, const Program& program, const Machine& machine);

std::string time_text(double seconds);            ///< "12.34 us", "1.234 ms"
std::string percent_text(double share);           ///< "61.5 %"
double ratio(double part, double whole);          ///< 0 of nothing
std::string short_node(const std::string& node);  ///< of an update of many parameters the first, and how many there are

}  // namespace weir::cli
