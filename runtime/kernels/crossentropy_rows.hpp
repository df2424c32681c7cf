// The arithmetic of crossentropy over one row of classes, shared by its value and its gradient.
//
// Targets are smoothed: t' = keep·t + spread, keep = 1 - a, spread = a / classes; a constant target is all spread. So a
// row's targets are a sparse or dense part times `keep`, plus `spread` everywhere, and T = Σ t'.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "runtime/kernels/class_rows.hpp"
#include "runtime/kernels/elementary.hpp"

namespace weir::kernels {

/// logits: ℓ = T·logsumexp z - Σ t'·z.
/// probabilities: ℓ = -Σ t'·log clip(p / Σ p).
/// clipped_probabilities: ℓ = -log(clip p_y / Σ clip p), Keras' sparse form on TensorFlow. clip: to [1e-7, 1 - 1e-7].
enum class CrossentropyForm { logits, probabilities, clipped_probabilities };

inline CrossentropyForm crossentropy_form(const Attributes& attributes) {
  const std::string& word = attributes.word("form");
  return word == "logits"          ? CrossentropyForm::logits
         : word == "probabilities" ? CrossentropyForm::probabilities
                                   : CrossentropyForm::clipped_probabilities;
}

inline void check_crossentropy(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  check_class_rows(recipe, more);
  word_setting(recipe, "form", {"logits", "probabilities", "clipped_probabilities"});
  number_setting(recipe, "label_smoothing", 0, 1);
  std::string_view instead = "form";  // of a target: "class" or "constant"
  if (!recipe.find("target")) instead = recipe.attributes.has("class") ? "class" : "constant";
  check_attribute_names(recipe, {"form", "label_smoothing", "divisor", "by_rows", instead});
}

inline constexpr double least_probability = 1e-7, most_probability = 1 - 1e-7;
WEIR_INLINE double clip_probability(double p) { return std::clamp(p, least_probability, most_probability); }
WEIR_INLINE bool is_clipped(double p) { return p < least_probability || p > most_probability; }

struct CrossentropyTargets : ClassRows {
  CrossentropyTargets(const Recipe& recipe, std::span<void* const> buffers) : ClassRows(recipe, buffers) {
    const double smoothing = recipe.attributes.number("label_smoothing");
    keep = 1 - smoothing;
    spread = smoothing / static_cast<double>(classes);
    if (!target && !has_classes()) spread += keep * recipe.attributes.number("constant");
  }

  /// Σ t' of a row of classes or of a constant.
  double total() const { return (has_classes() ? keep : 0) + spread * static_cast<double>(classes); }
  /// The same of any row.
  double total(std::int64_t row) const {
    if (!target) return total();
    double sum = 0;
    for (std::int64_t entry = 0; entry < classes; ++entry) sum += target[row * classes + entry];
    return keep * sum + spread * static_cast<double>(classes);
  }
  /// t' of one entry.
  double smoothed(std::int64_t row, std::int64_t entry) const {
    if (target) return keep * target[row * classes + entry] + spread;
    return has_classes() && class_of(row) == entry ? keep + spread : spread;
  }

  /// Logits against classes, few enough for ShortRows.
  bool are_short(CrossentropyForm form) const {
    return form == CrossentropyForm::logits && has_classes() && classes <= 16;
  }

  double keep, spread;
};

/// Largest entry; NaN entries are passed over here and come back from the exponentials.
struct RowMaximum {
  WEIR_INLINE float operator()(const float* z, std::int64_t count) const {
    constexpr int width = 16;
    float largest[width];
    std::fill_n(largest, width, z[0]);
    std::int64_t i = 0;
    for (; i + width <= count; i += width)
      for (int lane = 0; lane < width; ++lane)
        largest[lane] = z[i + lane] > largest[lane] ? z[i + lane] : largest[lane];
    for (; i < count; ++i) largest[0] = z[i] > largest[0] ? z[i] : largest[0];
    for (int lane = 1; lane < width; ++lane) largest[0] = largest[lane] > largest[0] ? largest[lane] : largest[0];
    return largest[0];
  }
};

/// Σ e^(z - maximum); the terms go into `exponentials` where `store`, which may be z itself.
template <bool store>
struct RowExponentials {
  WEIR_INLINE double operator()(const float* z, float maximum, float* exponentials, std::int64_t count) const {
    constexpr std::int64_t chunk = 128;
    alignas(64) float values[chunk];
    double sum = 0;
    for (std::int64_t begin = 0; begin < count; begin += chunk) {
      const std::int64_t size = std::min(chunk, count - begin);
      for (std::int64_t i = 0; i < size; ++i) values[i] = exp_of_negative(z[begin + i] - maximum);
      if (store) std::copy_n(values, size, exponentials + begin);
      sum += lane_sum(values, size);
    }
    return sum;
  }
};

/// Sixteen rows of a few classes side by side, a row a lane: where rows are shorter than a vector.
struct ShortRows {
  static constexpr std::int64_t lanes = 16, most_classes = 16;
  alignas(64) float exponentials[most_classes * lanes];  ///< e^(z - maximum), class after class
  alignas(64) float maxima[lanes];
  alignas(64) double sums[lanes], logarithms[lanes];  ///< of the exponentials
};

/// rows: at most `lanes`; lanes behind them repeat the last row.
template <bool with_logarithms>
struct ShortRowsLoop {
  WEIR_INLINE void operator()(const float* z, std::int64_t rows, std::int64_t classes, ShortRows* out) const {
    constexpr std::int64_t lanes = ShortRows::lanes;
    float* values = out->exponentials;
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const float* row = z + std::min(lane, rows - 1) * classes;
      for (std::int64_t c = 0; c < classes; ++c) values[c * lanes + lane] = row[c];
    }
    float maxima[lanes];
    double sums[lanes] = {};
    for (std::int64_t lane = 0; lane < lanes; ++lane) maxima[lane] = values[lane];
    for (std::int64_t c = 1; c < classes; ++c)
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        maxima[lane] = values[c * lanes + lane] > maxima[lane] ? values[c * lanes + lane] : maxima[lane];
    for (std::int64_t c = 0; c < classes; ++c) {
      float exponentials[lanes];
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        exponentials[lane] = exp_of_negative(values[c * lanes + lane] - maxima[lane]);
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        values[c * lanes + lane] = exponentials[lane];
        sums[lane] += static_cast<double>(exponentials[lane]);
      }
    }
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      out->maxima[lane] = maxima[lane];
      out->sums[lane] = sums[lane];
      if (with_logarithms) out->logarithms[lane] = log_of_at_least_one(sums[lane]);
    }
  }
};

}  // namespace weir::kernels
