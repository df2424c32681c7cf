// The formulas of losses that look at one entry of prediction and target at a time: ℓ(x, t) and ∂ℓ/∂x. THE place to add
// one: write the struct, put it into EntryFormulas; loss_entries, loss_entries_gradient and their checks follow. With a
// slope_of_target, ∂ℓ/∂t, a gradient can flow into the target too.
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
#include "runtime/kernels/formula.hpp"

namespace weir::kernels {

/// ℓ = |x - t|; the subgradient at 0 is 0.
struct AbsoluteError {
  static constexpr std::string_view name = "absolute_error";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit AbsoluteError(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const { return __builtin_fabs(static_cast<double>(x) - t); }
  WEIR_INLINE float slope(float x, float t) const { return (x > t ? 1.0f : 0.0f) - (x < t ? 1.0f : 0.0f); }
  WEIR_INLINE float slope_of_target(float x, float t) const { return -slope(x, t); }
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
  WEIR_INLINE float slope_of_target(float x, float t) const { return -slope(x, t); }
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
  WEIR_INLINE float slope_of_target(float x, float) const { return -target.keep * x; }
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
  WEIR_INLINE float slope_of_target(float x, float) const {
    const double p = std::clamp<double>(x, least, most);
    return static_cast<float>(target.keep * (std::log(1 - p) - std::log(p)));
  }
  BinaryTarget target;
};

/// PyTorch's from probabilities: logarithms at least -100, and the slope (p - t') / max(p·(1 - p), 1e-12).
struct BinaryCrossentropyFloored {
  static constexpr std::string_view name = "binary_crossentropy_floored";
  static constexpr bool has_target = true;
  static constexpr auto settings = BinaryTarget::settings;
  explicit BinaryCrossentropyFloored(const Attributes& attributes) : target(attributes) {}
  WEIR_INLINE double value(float x, float t) const {
    const double p = x, smoothed = target(t);
    const double yes = std::log(p), no = std::log1p(-p);
    return -smoothed * (yes < -100 ? -100 : yes) - (1 - smoothed) * (no < -100 ? -100 : no);
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double p = x, room = p * (1 - p);
    return static_cast<float>((p - target(t)) / (room < 1e-12 ? 1e-12 : room));
  }
  WEIR_INLINE float slope_of_target(float x, float) const {
    const double p = x, yes = std::log(p), no = std::log1p(-p);
    return static_cast<float>(target.keep * ((no < -100 ? -100 : no) - (yes < -100 ? -100 : yes)));
  }
  BinaryTarget target;
};

/// ℓ = e²/2 up to |e| = delta, then delta·|e| - delta²/2, e = x - t
struct Huber {
  static constexpr std::string_view name = "huber";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 1> settings{{{"delta", 0, 3e38}}};
  explicit Huber(const Attributes& attributes) : delta(attributes.number("delta")) {}
  WEIR_INLINE double value(float x, float t) const {
    const double e = __builtin_fabs(static_cast<double>(x) - t);
    return e <= delta ? 0.5 * e * e : delta * (e - 0.5 * delta);
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double e = static_cast<double>(x) - t;
    return static_cast<float>(e > delta ? delta : e < -delta ? -delta : e);
  }
  WEIR_INLINE float slope_of_target(float x, float t) const { return -slope(x, t); }
  double delta;
};

/// ℓ = log cosh e, e = x - t. Near 0 as log(1 + 2 sinh²(e/2)), which does not cancel; elsewhere as |e| - log 2 + log(1
/// + e^-2|e|), which does not overflow.
struct LogCosh {
  static constexpr std::string_view name = "log_cosh";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit LogCosh(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    const double e = std::abs(static_cast<double>(x) - t);
    if (e >= 1) return (e - 0.693147180559945309) + std::log1p(std::exp(-2 * e));
    const double half = std::sinh(e / 2);
    return std::log1p(2 * half * half);
  }
  WEIR_INLINE float slope(float x, float t) const { return static_cast<float>(std::tanh(static_cast<double>(x) - t)); }
  WEIR_INLINE float slope_of_target(float x, float t) const { return -slope(x, t); }
};

/// ℓ = x - t·log(x + 1e-7)
struct Poisson {
  static constexpr std::string_view name = "poisson";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit Poisson(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    return x - static_cast<double>(t) * std::log(static_cast<double>(x) + 1e-7);
  }
  WEIR_INLINE float slope(float x, float t) const {
    return static_cast<float>(1 - static_cast<double>(t) / (static_cast<double>(x) + 1e-7));
  }
  WEIR_INLINE float slope_of_target(float x, float) const {
    return static_cast<float>(-std::log(static_cast<double>(x) + 1e-7));
  }
};

/// PyTorch's: ℓ = x - t·log(x + 1e-8)
struct PoissonNll {
  static constexpr std::string_view name = "poisson_nll";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit PoissonNll(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    return x - static_cast<double>(t) * std::log(static_cast<double>(x) + 1e-8);
  }
  WEIR_INLINE float slope(float x, float t) const {
    return static_cast<float>(1 - static_cast<double>(t) / (static_cast<double>(x) + 1e-8));
  }
  WEIR_INLINE float slope_of_target(float x, float) const {
    return static_cast<float>(-std::log(static_cast<double>(x) + 1e-8));
  }
};

/// ℓ = 100·|x - t| / max(|t|, 1e-7); the subgradient at x = t is 0.
struct AbsolutePercentageError {
  static constexpr std::string_view name = "absolute_percentage_error";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit AbsolutePercentageError(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    return 100 * __builtin_fabs(static_cast<double>(x) - t) / scale(t);
  }
  WEIR_INLINE float slope(float x, float t) const {
    return static_cast<float>(100 * ((x > t ? 1.0 : 0.0) - (x < t ? 1.0 : 0.0)) / scale(t));
  }
  WEIR_INLINE static double scale(float t) {
    const double size = __builtin_fabs(static_cast<double>(t));
    return size < 1e-7 ? 1e-7 : size;
  }
};

/// ℓ = (log(1 + max(x, 1e-7)) - log(1 + max(t, 1e-7)))²; no slope below 1e-7.
struct SquaredLogarithmicError {
  static constexpr std::string_view name = "squared_logarithmic_error";
  static constexpr bool has_target = true;
  static constexpr std::array<Setting, 0> settings{};
  explicit SquaredLogarithmicError(const Attributes&) {}
  WEIR_INLINE double value(float x, float t) const {
    const double difference = logarithm(x) - logarithm(t);
    return difference * difference;
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double p = x;
    return p < 1e-7 ? 0.0f : static_cast<float>(2 * (logarithm(x) - logarithm(t)) / (1 + p));
  }
  WEIR_INLINE float slope_of_target(float x, float t) const { return slope(t, x); }
  WEIR_INLINE static double logarithm(float v) { return std::log1p(v < 1e-7 ? 1e-7 : static_cast<double>(v)); }
};

/// Targets of the hinges: -1 and 1, or with zero_one 0 and 1. margin(x, t) = 1 - t'·x.
struct HingeTarget {
  static constexpr std::array<Setting, 1> settings{{{"zero_one", 0, 1}}};
  explicit HingeTarget(const Attributes& attributes) : zero_one(attributes.number("zero_one") != 0) {}
  WEIR_INLINE double operator()(float t) const { return zero_one ? 2 * static_cast<double>(t) - 1 : t; }
  WEIR_INLINE double margin(float x, float t) const { return 1 - operator()(t) * x; }
  bool zero_one;
};

/// ℓ = max(1 - t'·x, 0); at the margin itself the slope is that of the inside.
struct Hinge {
  static constexpr std::string_view name = "hinge";
  static constexpr bool has_target = true;
  static constexpr auto settings = HingeTarget::settings;
  explicit Hinge(const Attributes& attributes) : target(attributes) {}
  WEIR_INLINE double value(float x, float t) const {
    const double margin = target.margin(x, t);
    return margin < 0 ? 0 : margin;
  }
  WEIR_INLINE float slope(float x, float t) const {
    return target.margin(x, t) < 0 ? 0.0f : static_cast<float>(-target(t));
  }
  HingeTarget target;
};

/// ℓ = max(1 - t'·x, 0)²
struct SquaredHinge {
  static constexpr std::string_view name = "squared_hinge";
  static constexpr bool has_target = true;
  static constexpr auto settings = HingeTarget::settings;
  explicit SquaredHinge(const Attributes& attributes) : target(attributes) {}
  WEIR_INLINE double value(float x, float t) const {
    const double margin = target.margin(x, t);
    return margin < 0 ? 0 : margin * margin;
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double margin = target.margin(x, t);
    return margin < 0 ? 0.0f : static_cast<float>(-2 * margin * target(t));
  }
  HingeTarget target;
};

/// What the two focal binary crossentropies share: ℓ = w·f^gamma·b, f = t'(1 - p) + (1 - t')p how far p is from its
/// target, b the crossentropy, w = alpha·t' + (1 - alpha)(1 - t') with class balancing, else 1. In double.
struct BinaryFocus {
  static constexpr std::array<Setting, 4> settings{
      {{"label_smoothing", 0, 1}, {"alpha", 0, 1}, {"gamma", 0, 3e38}, {"apply_class_balancing", 0, 1}}};
  explicit BinaryFocus(const Attributes& attributes)
      : smoothing(attributes.number("label_smoothing")),
        alpha(attributes.number("alpha")),
        gamma(attributes.number("gamma")),
        balanced(attributes.number("apply_class_balancing") != 0) {}
  WEIR_INLINE double smoothed(float t) const { return (1 - smoothing) * t + smoothing / 2; }
  WEIR_INLINE double weight(double t) const { return balanced ? alpha * t + (1 - alpha) * (1 - t) : 1; }
  WEIR_INLINE double value(double t, double f, double b) const { return weight(t) * std::pow(f, gamma) * b; }
  /// From the slopes of f and b. Where f is 0 and gamma below 1 the first part is taken as 0, its limit from logits.
  WEIR_INLINE float slope(double t, double f, double b, double f_slope, double b_slope) const {
    const double inner = f == 0 && gamma < 1 ? 0 : gamma * std::pow(f, gamma - 1) * f_slope * b;
    return static_cast<float>(weight(t) * (inner + std::pow(f, gamma) * b_slope));
  }
  double smoothing, alpha, gamma;
  bool balanced;
};

/// p = sigmoid(x), and b from the logit itself.
struct BinaryFocalOfLogits {
  static constexpr std::string_view name = "binary_focal_crossentropy_of_logits";
  static constexpr bool has_target = true;
  static constexpr auto settings = BinaryFocus::settings;
  explicit BinaryFocalOfLogits(const Attributes& attributes) : focus(attributes) {}

  struct Parts {
    WEIR_INLINE Parts(double z, double t) {
      const double e = std::exp(-std::abs(z)), low = e / (1 + e), high = 1 / (1 + e);
      p = z > 0 ? high : low;
      rest = z > 0 ? low : high;
      f = t * rest + (1 - t) * p;
      b = (z > 0 ? z : 0) - z * t + std::log1p(e);
    }
    double p, rest, f, b;  ///< rest: 1 - p without cancelling
  };
  WEIR_INLINE double value(float x, float t) const {
    const double smoothed = focus.smoothed(t);
    const Parts parts(x, smoothed);
    return focus.value(smoothed, parts.f, parts.b);
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double smoothed = focus.smoothed(t);
    const Parts parts(x, smoothed);
    const double b_slope = (1 - smoothed) * parts.p - smoothed * parts.rest;
    return focus.slope(smoothed, parts.f, parts.b, (1 - 2 * smoothed) * parts.p * parts.rest, b_slope);
  }
  BinaryFocus focus;
};

/// p = x; b from x clipped to [1e-7, 1 - 1e-7], f from x as it is, as Keras has it.
struct BinaryFocalOfProbabilities {
  static constexpr std::string_view name = "binary_focal_crossentropy_of_probabilities";
  static constexpr bool has_target = true;
  static constexpr auto settings = BinaryFocus::settings;
  static constexpr double least = 1e-7, most = 1 - 1e-7;
  explicit BinaryFocalOfProbabilities(const Attributes& attributes) : focus(attributes) {}
  WEIR_INLINE static double distance(double p, double t) { return t * (1 - p) + (1 - t) * p; }
  WEIR_INLINE static double crossentropy(double p, double t) {
    const double q = std::clamp(p, least, most);
    return -t * std::log(q) - (1 - t) * std::log(1 - q);
  }
  WEIR_INLINE double value(float x, float t) const {
    const double smoothed = focus.smoothed(t);
    return focus.value(smoothed, distance(x, smoothed), crossentropy(x, smoothed));
  }
  WEIR_INLINE float slope(float x, float t) const {
    const double p = x, smoothed = focus.smoothed(t);
    const double b_slope = p < least || p > most ? 0 : (1 - smoothed) / (1 - p) - smoothed / p;
    return focus.slope(smoothed, distance(p, smoothed), crossentropy(p, smoothed), 1 - 2 * smoothed, b_slope);
  }
  BinaryFocus focus;
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

/// ℓ = l1·|x| + l2·x²: a regularizer; the subgradient of |x| at 0 is 0.
struct AbsoluteAndSquare {
  static constexpr std::string_view name = "l1_l2";
  static constexpr bool has_target = false;
  static constexpr std::array<Setting, 2> settings{{{"l1", 0, 3.5e38}, {"l2", 0, 3.5e38}}};
  explicit AbsoluteAndSquare(const Attributes& attributes) : l1(attributes.number("l1")), l2(attributes.number("l2")) {}
  WEIR_INLINE double value(float x, float) const {
    const double entry = x;
    return l1 * __builtin_fabs(entry) + l2 * (entry * entry);
  }
  WEIR_INLINE float slope(float x, float) const {
    const double sign = (x > 0 ? 1.0 : 0.0) - (x < 0 ? 1.0 : 0.0);
    return static_cast<float>(l1 * sign + 2 * l2 * x);
  }
  double l1, l2;
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

using EntryFormulas =
    std::tuple<AbsoluteError, SquaredError, BinaryCrossentropyOfLogits, BinaryCrossentropyOfProbabilities,
               BinaryCrossentropyFloored, Huber, LogCosh, Poisson, PoissonNll, AbsolutePercentageError,
               SquaredLogarithmicError, Hinge, SquaredHinge, BinaryFocalOfLogits, BinaryFocalOfProbabilities,
               PlainValue, AbsoluteAndSquare, ThresholdMatch>;

/// visit.template operator()<Formula>() with the formula that the recipe's setting "loss" names.
template <class Visit>
auto with_entry_formula(const Recipe& recipe, Visit&& visit) {
  return with_formula<EntryFormulas>(recipe, visit);
}

}  // namespace weir::kernels
