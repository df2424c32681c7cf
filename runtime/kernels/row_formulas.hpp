// The formulas of losses that look at one row of classes at a time, in double: ℓ(x, t) and ∂ℓ/∂x. THE place to add one:
// write the struct, put it into RowFormulas; loss_rows, loss_rows_gradient and their checks follow. With a
// target_gradient, ∂ℓ/∂t, a gradient can flow into the target too.
//
// A gradient may be written over the prediction: entry i is written after the last read of any x but those behind i.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <tuple>

#include "runtime/kernels/class_rows.hpp"
#include "runtime/kernels/formula.hpp"

namespace weir::kernels {

/// One row: its prediction, and its target as numbers, as a class, or as one number for every class.
struct LossRow {
  double t(std::int64_t i) const { return target ? target[i] : chosen >= 0 ? (i == chosen ? 1 : 0) : constant; }

  const float* x;
  std::int64_t classes;
  const float* target;
  std::int64_t chosen;
  double constant;
};

/// ℓ = Σ t·log(t / p), both clipped to [1e-7, 1]; no slope where p was clipped.
struct Divergence {
  static constexpr std::string_view name = "kl_divergence";
  static constexpr std::array<Setting, 0> settings{};
  explicit Divergence(const Attributes&) {}
  static double clip(double v) { return std::clamp(v, 1e-7, 1.0); }
  double value(const LossRow& row) const {
    double sum = 0;
    for (std::int64_t i = 0; i < row.classes; ++i) sum += clip(row.t(i)) * std::log(clip(row.t(i)) / clip(row.x[i]));
    return sum;
  }
  void gradient(const LossRow& row, double factor, float* gradient) const {
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double p = row.x[i], slope = p < 1e-7 || p > 1 ? 0 : -clip(row.t(i)) / p;
      gradient[i] = static_cast<float>(factor * slope);
    }
  }
  void target_gradient(const LossRow& row, double factor, float* gradient) const {
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double t = row.t(i), slope = t < 1e-7 || t > 1 ? 0 : std::log(t / clip(row.x[i])) + 1;
      gradient[i] = static_cast<float>(factor * slope);
    }
  }
};

/// PyTorch's: ℓ = Σ t·(log t - log p), 0 where t is 0, nothing clipped; by_entry: divided by the number of classes.
template <bool by_entry>
struct UnclippedDivergence {
  static constexpr std::string_view name = by_entry ? "kl_divergence_by_entry" : "kl_divergence_unclipped";
  static constexpr std::array<Setting, 0> settings{};
  explicit UnclippedDivergence(const Attributes&) {}
  static double share(const LossRow& row) { return by_entry ? 1 / static_cast<double>(row.classes) : 1; }
  double value(const LossRow& row) const {
    double sum = 0;
    for (std::int64_t i = 0; i < row.classes; ++i)
      if (const double t = row.t(i); t != 0) sum += t * (std::log(t) - std::log(static_cast<double>(row.x[i])));
    return sum * share(row);
  }
  void gradient(const LossRow& row, double factor, float* gradient) const {
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double t = row.t(i);
      gradient[i] = t == 0 ? 0.0f : static_cast<float>(-factor * share(row) * t / row.x[i]);
    }
  }
  void target_gradient(const LossRow& row, double factor, float* gradient) const {
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double t = row.t(i), slope = t == 0 ? 0 : std::log(t) - std::log(static_cast<double>(row.x[i])) + 1;
      gradient[i] = static_cast<float>(factor * share(row) * slope);
    }
  }
};

/// ℓ = -Σ x·t / (|x|·|t|), each length at least 1e-7. A row of zeros has no direction and gets no gradient.
struct Cosine {
  static constexpr std::string_view name = "cosine_similarity";
  static constexpr std::array<Setting, 0> settings{};
  explicit Cosine(const Attributes&) {}

  struct Lengths {
    explicit Lengths(const LossRow& row) {
      double xx = 0, tt = 0, xt = 0;
      for (std::int64_t i = 0; i < row.classes; ++i) {
        const double p = row.x[i], q = row.t(i);
        xx += p * p, tt += q * q, xt += p * q;
      }
      length = std::sqrt(xx), target_length = std::sqrt(tt);
      inverse = 1 / std::max(length, 1e-7), target_inverse = 1 / std::max(target_length, 1e-7);
      cosine = xt * inverse * target_inverse;
    }
    double length, target_length, inverse, target_inverse, cosine;
  };
  double value(const LossRow& row) const { return -Lengths(row).cosine; }
  void gradient(const LossRow& row, double factor, float* gradient) const {
    const Lengths lengths(row);
    const double scale = lengths.length == 0 ? 0 : factor * lengths.inverse;
    const double along = lengths.length < 1e-7 ? 0 : lengths.cosine * lengths.inverse;
    for (std::int64_t i = 0; i < row.classes; ++i)
      gradient[i] = static_cast<float>(scale * (along * row.x[i] - row.t(i) * lengths.target_inverse));
  }
  /// The same from the other side.
  void target_gradient(const LossRow& row, double factor, float* gradient) const {
    const Lengths lengths(row);
    const double scale = lengths.target_length == 0 ? 0 : factor * lengths.target_inverse;
    const double along = lengths.target_length < 1e-7 ? 0 : lengths.cosine * lengths.target_inverse;
    for (std::int64_t i = 0; i < row.classes; ++i)
      gradient[i] = static_cast<float>(scale * (along * row.t(i) - row.x[i] * lengths.inverse));
  }
};

/// PyTorch's: the same plus 1.
struct CosineDistance : Cosine {
  static constexpr std::string_view name = "cosine_distance";
  using Cosine::Cosine;
  double value(const LossRow& row) const { return 1 + Cosine::value(row); }
};

/// ℓ = max(max (1 - t)·x - Σ t·x + 1, 0). At the margin the slope is that of the inside; equal largest entries share
/// it.
struct RowHinge {
  static constexpr std::string_view name = "categorical_hinge";
  static constexpr std::array<Setting, 0> settings{};
  explicit RowHinge(const Attributes&) {}

  struct Sides {
    explicit Sides(const LossRow& row) : most((1 - row.t(0)) * row.x[0]) {
      for (std::int64_t i = 0; i < row.classes; ++i) {
        const double wrong = (1 - row.t(i)) * row.x[i];
        right += row.t(i) * row.x[i];
        count = wrong > most ? 1 : wrong == most ? count + 1 : count;
        most = wrong > most ? wrong : most;
      }
    }
    double margin() const { return most - right + 1; }
    double most, right = 0, count = 0;
  };
  double value(const LossRow& row) const {
    const double margin = Sides(row).margin();
    return margin < 0 ? 0 : margin;
  }
  void gradient(const LossRow& row, double factor, float* gradient) const {
    const Sides sides(row);
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double t = row.t(i), share = (1 - t) * row.x[i] == sides.most ? (1 - t) / sides.count : 0;
      gradient[i] = sides.margin() < 0 ? 0.0f : static_cast<float>(factor * (share - t));
    }
  }
};

/// ℓ = Σ -alpha·t'·(1 - q)^gamma·log q, q = p / Σ p clipped to [1e-7, 1 - 1e-7]; p the prediction, or its softmax.
template <bool of_logits>
struct CategoricalFocal {
  static constexpr std::string_view name =
      of_logits ? "categorical_focal_crossentropy_of_logits" : "categorical_focal_crossentropy_of_probabilities";
  static constexpr std::array<Setting, 3> settings{{{"label_smoothing", 0, 1}, {"alpha", 0, 3e38}, {"gamma", 0, 3e38}}};
  static constexpr double least = 1e-7, most = 1 - 1e-7;
  explicit CategoricalFocal(const Attributes& attributes)
      : smoothing(attributes.number("label_smoothing")),
        alpha(attributes.number("alpha")),
        gamma(attributes.number("gamma")) {}

  /// p / Σ p of any entry.
  struct Shares {
    explicit Shares(const LossRow& row) {
      if (of_logits) maximum = *std::max_element(row.x, row.x + row.classes);
      for (std::int64_t i = 0; i < row.classes; ++i) sum += raw(row.x[i]);
    }
    double raw(float x) const { return of_logits ? std::exp(static_cast<double>(x) - maximum) : x; }
    double operator()(float x) const { return raw(x) / sum; }
    double maximum = 0, sum = 0;
  };
  double smoothed(const LossRow& row, std::int64_t i) const {
    return (1 - smoothing) * row.t(i) + smoothing / static_cast<double>(row.classes);
  }
  double value(const LossRow& row) const {
    const Shares shares(row);
    double sum = 0;
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double q = std::clamp(shares(row.x[i]), least, most);
      sum -= alpha * smoothed(row, i) * std::pow(1 - q, gamma) * std::log(q);
    }
    return sum;
  }
  /// ∂ℓ/∂q of one entry.
  double inner(double q, double t) const {
    if (q < least || q > most) return 0;
    return alpha * t * (gamma * std::pow(1 - q, gamma - 1) * std::log(q) - std::pow(1 - q, gamma) / q);
  }
  void gradient(const LossRow& row, double factor, float* gradient) const {
    const Shares shares(row);
    double mean = 0;
    for (std::int64_t i = 0; i < row.classes; ++i) mean += inner(shares(row.x[i]), smoothed(row, i)) * shares(row.x[i]);
    for (std::int64_t i = 0; i < row.classes; ++i) {
      const double q = shares(row.x[i]), scale = of_logits ? q : 1 / shares.sum;
      gradient[i] = static_cast<float>(factor * scale * (inner(q, smoothed(row, i)) - mean));
    }
  }
  double smoothing, alpha, gamma;
};

using RowFormulas = std::tuple<Divergence, UnclippedDivergence<true>, UnclippedDivergence<false>, Cosine,
                               CosineDistance, RowHinge, CategoricalFocal<true>, CategoricalFocal<false>>;

/// The checks of class_rows.hpp, and: target f32, i32 classes or the setting "constant"; no other settings than the
/// formula's.
inline void check_loss_rows(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  check_class_rows(recipe, more);
  if (recipe.attributes.has("class")) reject(recipe, "the class of every row is no setting of this loss");
  std::size_t settings = recipe.find("target") ? 3 : 4;
  with_formula<RowFormulas>(recipe, [&]<class Formula>() {
    for (const Setting& setting : Formula::settings) number_setting(recipe, setting.name, setting.least, setting.most);
    settings += Formula::settings.size();
  });
  if (static_cast<std::size_t>(std::distance(recipe.attributes.begin(), recipe.attributes.end())) != settings)
    reject(recipe, "it has a setting that this loss does not take");
}

struct LossRows : ClassRows {
  LossRows(const Recipe& recipe, std::span<void* const> buffers)
      : ClassRows(recipe, buffers),
        constant(recipe.attributes.has("constant") ? recipe.attributes.number("constant") : 0) {}

  /// Whether the row's class is outside the axis.
  bool is_outside(std::int64_t row) const { return has_classes() && class_of(row) < 0; }
  LossRow row(std::int64_t index) const {
    return {prediction + index * classes, classes, target ? target + index * classes : nullptr,
            has_classes() ? class_of(index) : -1, constant};
  }
  double constant;
};

}  // namespace weir::kernels
