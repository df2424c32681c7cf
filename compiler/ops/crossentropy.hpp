// The three forms of crossentropy over rows of classes, in double, shared by categorical_crossentropy and its sparse
// sister.
//
//   t' = (1 - a)·t + a/C, a the label smoothing;  T = Σ t'
//   logits:                 ℓ = T·log Σ e^z - Σ t'·z                    ∂ℓ/∂z = T·softmax(z) - t'
//   probabilities:          ℓ = -Σ t'·log clip(p / S), S = Σ p          ∂ℓ/∂p = (Σ [·]·t' - [·]·t' / q) / S
//   clipped_probabilities:  ℓ = T·log Σ clip(p) - Σ t'·log clip(p)      ∂ℓ/∂p = [·]·(T / Σ clip(p) - t' / p)
//
// clip: to [1e-7, 1 - 1e-7], Keras' epsilon; [·] is 1 where an entry was not clipped, bounds included, q the clipped
// value. The second is Keras' categorical crossentropy of probabilities, the third its sparse one on TensorFlow, which
// normalises after clipping. (TensorFlow differentiates the first as softmax(z) - t', the same where Σ t' = 1; this is
// the derivative for every target.)
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "compiler/ops/loss.hpp"

namespace weir::ops {

inline double clip_probability(double p) { return std::clamp(p, 1e-7, 1 - 1e-7); }
inline bool is_clipped(double p) { return p < 1e-7 || p > 1 - 1e-7; }

/// One row: x its logits or probabilities, t its smoothed targets.
struct CrossentropyRow {
  std::vector<double> x, t;

  double total() const { return sum(t); }
  static double sum(const std::vector<double>& values) {
    double result = 0;
    for (double value : values) result += value;
    return result;
  }
};

/// Against the largest logit, so that nothing overflows and no distance is lost: log Σ e^z = maximum + log(sum).
struct Exponentials {
  explicit Exponentials(const std::vector<double>& z) : maximum(*std::max_element(z.begin(), z.end())) {
    for (double value : z) sum += std::exp(value - maximum);
  }
  double maximum, sum = 0;
};

inline double logits_value(const CrossentropyRow& row) {
  const Exponentials exponentials(row.x);
  double value = 0;
  for (std::size_t i = 0; i < row.x.size(); ++i)
    if (row.t[i] != 0) value += row.t[i] * ((exponentials.maximum - row.x[i]) + std::log(exponentials.sum));
  return value;
}
inline std::vector<double> logits_gradient(const CrossentropyRow& row) {
  const Exponentials exponentials(row.x);
  const double total = row.total();
  std::vector<double> gradient;
  for (std::size_t i = 0; i < row.x.size(); ++i)
    gradient.push_back(total * std::exp(row.x[i] - exponentials.maximum) / exponentials.sum - row.t[i]);
  return gradient;
}

inline double probabilities_value(const CrossentropyRow& row) {
  const double sum = CrossentropyRow::sum(row.x);
  double value = 0;
  for (std::size_t i = 0; i < row.x.size(); ++i)
    if (row.t[i] != 0) value -= row.t[i] * std::log(clip_probability(row.x[i] / sum));
  return value;
}
inline std::vector<double> probabilities_gradient(const CrossentropyRow& row) {
  const double sum = CrossentropyRow::sum(row.x);
  double reached = 0;
  std::vector<double> gradient;
  for (std::size_t i = 0; i < row.x.size(); ++i) reached += is_clipped(row.x[i] / sum) ? 0 : row.t[i];
  for (std::size_t i = 0; i < row.x.size(); ++i) {
    const double q = row.x[i] / sum;
    gradient.push_back((reached - (is_clipped(q) ? 0 : row.t[i] / q)) / sum);
  }
  return gradient;
}

inline double clipped_value(const CrossentropyRow& row) {
  double sum = 0, value = 0;
  for (std::size_t i = 0; i < row.x.size(); ++i) {
    sum += clip_probability(row.x[i]);
    if (row.t[i] != 0) value -= row.t[i] * std::log(clip_probability(row.x[i]));
  }
  return value + row.total() * std::log(sum);
}
inline std::vector<double> clipped_gradient(const CrossentropyRow& row) {
  double sum = 0;
  for (double p : row.x) sum += clip_probability(p);
  std::vector<double> gradient;
  for (std::size_t i = 0; i < row.x.size(); ++i)
    gradient.push_back(is_clipped(row.x[i]) ? 0 : row.total() / sum - row.t[i] / row.x[i]);
  return gradient;
}

struct CrossentropyFormula {
  std::string_view word;  ///< the kernel's
  double (*value)(const CrossentropyRow&);
  std::vector<double> (*gradient)(const CrossentropyRow&);
};
inline CrossentropyFormula crossentropy_formula(const Attributes& attributes, bool sparse) {
  if (reads_logits(attributes)) return {"logits", logits_value, logits_gradient};
  if (sparse) return {"clipped_probabilities", clipped_value, clipped_gradient};
  return {"probabilities", probabilities_value, probabilities_gradient};
}

inline double smoothing_of(const Attributes& attributes) {
  return attributes.has("label_smoothing") ? attributes.number("label_smoothing") : 0;
}

inline CrossentropyRow crossentropy_row(const LossView& view, std::int64_t row, bool sparse) {
  const double smoothing = smoothing_of(view.attributes);
  CrossentropyRow result;
  for (std::int64_t entry = 0; entry < view.classes; ++entry) {
    result.x.push_back(view.prediction[row * view.classes + entry]);
    result.t.push_back((1 - smoothing) * view.target_of(row, entry, sparse) +
                       smoothing / static_cast<double>(view.classes));
  }
  return result;
}

inline Denominator class_rows_denominator(const LossView& view) {
  return denominator(view.attributes, view.sample / view.classes, 1);
}

template <bool sparse>
void crossentropy_reference(ReferenceContext& c) {
  const LossView view(c);
  const CrossentropyFormula formula = crossentropy_formula(view.attributes, sparse);
  double sum = 0;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row)
    if (const double weight = view.weight_of(row * view.classes); weight != 0)
      sum += weight * formula.value(crossentropy_row(view, row, sparse));
  c.result("value")[0] = reduced(sum, class_rows_denominator(view), view);
}

template <bool sparse>
void crossentropy_gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const CrossentropyFormula formula = crossentropy_formula(view.attributes, sparse);
  const double factor = gradient_factor(c, class_rows_denominator(view), view);
  Array& gradient = c.result("gradient");
  std::fill(gradient.data.begin(), gradient.data.end(), 0.0);
  if (factor == 0) return;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row) {
    const double weight = view.weight_of(row * view.classes);
    if (weight == 0) continue;
    const std::vector<double> slopes = formula.gradient(crossentropy_row(view, row, sparse));
    for (std::int64_t entry = 0; entry < view.classes; ++entry)
      gradient[row * view.classes + entry] = slopes[static_cast<std::size_t>(entry)] * factor * weight;
  }
}

template <bool sparse>
void lower_crossentropy(LowerContext& c) {
  const bool gradient = c.node().op->results[0] == "gradient";
  const Dims dims = class_rows_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel(gradient ? "crossentropy_gradient" : "crossentropy");
  read_class_rows(c, kernel, sparse);
  if (gradient)
    kernel.read("weight", "weight").write_as("gradient", "gradient", dims, "nwc");
  else
    kernel.write("value", "value");
  kernel.set("form", std::string(crossentropy_formula(c.attributes(), sparse).word));
  kernel.set("label_smoothing", smoothing_of(c.attributes()));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}

}  // namespace weir::ops
