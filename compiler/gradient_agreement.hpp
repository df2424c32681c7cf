// Whether one parameter's gradient of one loss is the derivative: compiled against reference in every entry, both
// against differences in a sample, with an eye on kinks.
//
// A kink is told by the one-sided differences: where they disagree however small the step, the loss has no derivative
// in that entry. Kernels round, so a unit close to its kink may fall on its other side there: an entry in which
// compiled and reference part by no more than the jump that one-sided differences show around it is at a kink too.
// Entries at kinks are left out and counted.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "compiler/interpret/probe.hpp"
#include "compiler/verify.hpp"

namespace weir {

/// Of one loss by one parameter. The loss is Σ weight × value over the probe's terms.
struct LossGradient {
  std::vector<double> weights;    ///< by term of the probe
  double noise = 0;               ///< rounding of the loss's value in double
  std::vector<double> reference;  ///< by entry
  std::vector<double> compiled;
  double largest = 0;   ///< of |reference|
  double rounding = 0;  ///< how far rounding to f32 may move an entry

  /// What errors of `compiled` are relative to.
  double scale() const;
};

/// (value(entry + h) - value(entry)) / h and its mirror image.
struct Slopes {
  double left = 0, right = 0;
  double step = 0;
  double central() const { return (left + right) / 2; }
};

/// Slopes of losses along the entries of one parameter; losses and steps share what they can.
class Differences {
 public:
  Differences(LossProbe& probe, ValueId parameter) : probe_(probe), parameter_(parameter) {}

  /// h = 10^exponent.
  Slopes at(std::int64_t entry, int exponent, const std::vector<double>& weights);

 private:
  LossProbe& probe_;
  ValueId parameter_;
  std::map<std::pair<std::int64_t, int>, std::pair<std::vector<double>, std::vector<double>>> values_;
};

/// entries: where to take differences. left_out: gets the entries whose compiled value is at a kink.
GradientCheck check_gradient(const std::string& parameter, const Dims& dims, const LossGradient& gradient,
                             Differences& differences, const std::vector<std::int64_t>& entries, std::int64_t samples,
                             std::vector<std::int64_t>& left_out);

/// |error| / scale; 0 where the error is, infinite where it is no number.
double relative_error(double error, double scale);

}  // namespace weir
