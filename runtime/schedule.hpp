// How a scalar of a plan changes while training goes on: the weight of a loss term, the factor of a gradient_scale.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weir {

/// A curve over n, the updates (or, per_epoch, the epochs) that are completed. With u = clamp((n - start) / length, 0,
/// 1):
///   linear       from + (to - from)·u
///   cosine       from + (to - from)·(1 - cos πu) / 2
///   exponential  from·(to / from)^u
///   piecewise    values[i] while n ≤ boundaries[i], the last value after that
struct Schedule {
  enum class Curve : std::uint8_t { linear, cosine, exponential, piecewise } curve = Curve::linear;
  bool per_epoch = false;
  double from = 0, to = 0, start = 0;   ///< all but piecewise
  double length = 1;                    ///< all but piecewise
  std::vector<double> boundaries = {};  ///< piecewise: ascending
  std::vector<double> values = {};      ///< piecewise: one more
  bool operator==(const Schedule&) const = default;
};

/// Both ends exactly, so that a curve that ends in 0 is 0 there.
double value_at(const Schedule& schedule, std::uint64_t completed);

/// What makes it no schedule ("the length is not above 0"); "" where it is one. Its values are finite, and at least
/// `least`.
std::string fault_of(const Schedule& schedule, double least);

std::string_view to_string(Schedule::Curve curve);
/// "linear from 0 to 0.1 over 1000 steps", "0 to step 100, then 1"
std::string to_string(const Schedule& schedule);

}  // namespace weir
