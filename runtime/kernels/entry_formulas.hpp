// The formulas of losses that look at one entry of prediction and target at a time: ℓ(x, t) and ∂ℓ/∂x. THE place to add
// one: write the struct, put it into EntryFormulas; loss_entries, loss_entries_gradient and their checks follow.
//
// Values are taken in double (their sum must be), slopes in f32 where that loses nothing. A formula without a target is
// given t = 0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <tuple>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/elementary.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

/// A number that a formula takes as a setting of the recipe.
struct Setting {
  std::string_view name;
  double least, most;
};

/// ℓ = |x - t|; the subgradient at 0 is 0.
struct AbsoluteError {
  static constexpr std::string_view name = "absolute_error";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit AbsoluteError(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const { return __builtin_fabs(static_cast<double>(x) - t); }
  WEIR_INLINE float slope(float x, float t) const { return (x > t ? 1.0f : 0.0f) - (x < t ? 1.0f : 0.0f); }
};

/// ℓ = (x - t)²
struct SquaredError {
  static constexpr std::string_view name = "squared_error";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit SquaredError(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    const double error = static_cast<double>(x) - t;
    return error * error;
  }
  WEIR_INLINE float slope(float x, float t) const { return 2 * (x - t); }
};

/// Targets of the binary crossentropies: t' = (1 - a)·t + a/2.
struct BinaryTarget {
  static constexpr std::array<Setting, 1> settings{{{"label_smoothing", 0, 1}}};
  explicit BinaryTarget(const Attributes& attributes)
      : keep(static_cast<float>(1 - attributes.number("label_smoothing"))),
        spread(static_cast<float>(attributes.number("label_smoothing") / 2)) {}
  WEIR_INLINE float operator()(float t) const { return keep * t + spread; }
  float keep, spread;
};

/// ℓ = max(x, 0) - x·t' + log(1 + e^-|x|), the crossentropy of t' with sigmoid(x)
struct BinaryCrossentropyOfLogits {
  static constexpr std::string_view name = "binary_crossentropy_of_logits";
  static constexpr bool has_target = true;
  static constexpr auto settings = BinaryTarget::settings;
  explicit BinaryCrossentropyOfLogits(const Attributes& attributes) : target(attributes) {}
  WEIR_INLINE double value(float x, float t) const {
    const double z = x, rest = log_of_one_plus(exp_of_negative(-__builtin_fabsf(x)));
    return ((z > 0 ? z : 0) - z * target(t)) + rest;
  }
  WEIR_INLINE float slope(float x, float t) const {
    const float e = exp_of_negative(-__builtin_fabsf(x)), low = e / (1 + e);  // sigmoid(-|x|)
    return (x > 0 ? 1 - low : low) - target(t);
  }
  BinaryTarget target;
};

/// ℓ = -t'·log p - (1 - t')·log(1 - p) with p = x clipped to [1e-7, 1 - 1e-7]; the slope is 0 where x was clipped. In
/// double throughout: 1 - 1e-7 is no f32.
struct BinaryCrossentropyOfProbabilities {
  static constexpr std::string_view name = "binary_crossentropy_of_probabilities";
  static constexpr bool has_target = true;
  static constexpr auto settings = BinaryTarget::settings;
  static constexpr double least = 1e-7, most = 1 - 1e-7;
  explicit BinaryCrossentropyOfProbabilities(const Attributes& attributes) : target(attributes) {}
  WEIR_INLINE double value(float x, float t) const {
    const double p = std::clamp<double>(x, least, most), smoothed = target(t);
    return -smoothed * std::log(p) - (1 - smoothed) * std::log(1 - p);
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double p = x, smoothed = target(t);
    return p < least || p > most ? 0.0f : static_cast<float>((1 - smoothed) / (1 - p) - smoothed / p);
  }
  BinaryTarget target;
};

/// ℓ = x: the mean of a node
struct PlainValue {
  static constexpr std::string_view name = "value";
  static constexpr bool has_target = false;
  static constexpr std::array<Setting, 0> settings{};
  explicit PlainValue(const Attributes&) {}
  WEIR_INLINE double value(float x, float) const { return x; }
  WEIR_INLINE float slope(float, float) const { return 1; }
};

/// 1 where the target equals (x > threshold), else 0: binary accuracy. Flat everywhere.
struct ThresholdMatch {
  static constexpr std::string_view name = "threshold_match";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 1> settings{{{"threshold", -3e38, 3e38}}};
  explicit ThresholdMatch(const Attributes& attributes)
      : threshold(static_cast<float>(attributes.number("threshold"))) {}
  WEIR_INLINE double value(float x, float t) const { return (x > threshold ? 1.0f : 0.0f) == t ? 1 : 0; }
  WEIR_INLINE float slope(float, float) const { return 0; }
  float threshold;  // Keras compares in the prediction's type
};

using EntryFormulas = std::tuple<AbsoluteError, SquaredError, BinaryCrossentropyOfLogits,
                                 BinaryCrossentropyOfProbabilities, PlainValue, ThresholdMatch>;

/// visit.template operator()<Formula>() with the formula that the recipe's setting "loss" names. Throws
/// Error(invalid_data) for none.
template <std::size_t index = 0, class Visit>
auto with_entry_formula(const Recipe& recipe, Visit&& visit) {
  using Formula = std::tuple_element_t<index, EntryFormulas>;
  const bool found = word_setting(recipe, "loss") == Formula::name;
  if constexpr (index + 1 < std::tuple_size_v<EntryFormulas>) {
    if (!found) return with_entry_formula<index + 1>(recipe, visit);
  } else if (!found) {
    reject(recipe, "there is no loss of that name");
  }
  return visit.template operator()<Formula>();
}

}  // namespace weir::kernels
