#include "runtime/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/attribute.hpp"

namespace weir {
namespace {

using Curve = Schedule::Curve;

double piece_at(const Schedule& schedule, double n) {
  const auto found = std::find_if(schedule.boundaries.begin(), schedule.boundaries.end(),
                                  [&](double boundary) { return n <= boundary; });
  return schedule.values[static_cast<std::size_t>(found - schedule.boundaries.begin())];
}

std::string fault_of_pieces(const Schedule& schedule) {
  if (schedule.values.size() != schedule.boundaries.size() + 1) return "there must be one value more than boundaries";
  for (std::size_t i = 0; i < schedule.boundaries.size(); ++i)
    if (!std::isfinite(schedule.boundaries[i]) || (i > 0 && !(schedule.boundaries[i] > schedule.boundaries[i - 1])))
      return "the boundaries must ascend";
  return "";
}

std::string fault_of_curve(const Schedule& schedule) {
  if (!std::isfinite(schedule.start)) return "the start is not finite";
  if (!(schedule.length > 0) || !std::isfinite(schedule.length)) return "the length is not above 0";
  if (schedule.curve == Curve::exponential && !(schedule.from * schedule.to > 0))
    return "an exponential curve cannot pass through 0";
  return "";
}

}  // namespace

double value_at(const Schedule& schedule, std::uint64_t completed) {
  const auto n = static_cast<double>(completed);
  if (schedule.curve == Curve::piecewise) return piece_at(schedule, n);
  const double u = std::clamp((n - schedule.start) / schedule.length, 0.0, 1.0);
  if (u == 0) return schedule.from;
  if (u == 1) return schedule.to;
  if (schedule.curve == Curve::exponential) return schedule.from * std::pow(schedule.to / schedule.from, u);
  const double share = schedule.curve == Curve::linear ? u : (1 - std::cos(std::numbers::pi * u)) / 2;
  return schedule.from + (schedule.to - schedule.from) * share;
}

std::string fault_of(const Schedule& schedule, double least) {
  const bool pieces = schedule.curve == Curve::piecewise;
  for (double value : pieces ? schedule.values : std::vector<double>{schedule.from, schedule.to})
    if (!std::isfinite(value) || value < least) return "a value is not finite or below " + shortest(least);
  return pieces ? fault_of_pieces(schedule) : fault_of_curve(schedule);
}

std::string_view to_string(Curve curve) {
  switch (curve) {
    case Curve::linear:
      return "linear";
    case Curve::cosine:
      return "cosine";
    case Curve::exponential:
      return "exponential";
    case Curve::piecewise:
      return "piecewise";
  }
  return "?";
}

std::string to_string(const Schedule& schedule) {
  const std::string unit = schedule.per_epoch ? "epoch" : "step";
  if (schedule.curve == Curve::piecewise) {
    std::string text;
    for (std::size_t i = 0; i < schedule.boundaries.size(); ++i)
      text += shortest(schedule.values[i]) + " while at most " + shortest(schedule.boundaries[i]) + " " + unit +
              "s are done, then ";
    return text + shortest(schedule.values.back());
  }
  std::string text = std::string(to_string(schedule.curve)) + " from " + shortest(schedule.from) + " to " +
                     shortest(schedule.to) + " over " + shortest(schedule.length) + " " + unit +
                     (schedule.length == 1 ? "" : "s");
  return schedule.start == 0 ? text : text + " after " + shortest(schedule.start);
}

}  // namespace weir
