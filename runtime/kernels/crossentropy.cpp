// value = Σ crossentropy(row) / D over the real rows; the forms are in crossentropy_rows.hpp. From logits: with m = max
// z, ℓ = T·log Σ e^(z-m) + Σ t'·(m - z), which neither overflows nor cancels. Sums in double over fixed blocks of rows.
#include "runtime/kernel.hpp"
#include "runtime/kernels/crossentropy_rows.hpp"

namespace weir::kernels {
namespace {

/// Σ (m - z) and Σ t·(m - z), and Σ t.
struct Distances {
  double plain = 0, weighted = 0, targets = 0;
};
template <bool has_target>
struct RowDistances {
  WEIR_INLINE Distances operator()(const float* z, const float* t, float maximum, std::int64_t count) const {
    constexpr std::int64_t chunk = 128;
    alignas(64) double plain[chunk], weighted[chunk];
    Distances sums;
    for (std::int64_t begin = 0; begin < count; begin += chunk) {
      const std::int64_t size = std::min(chunk, count - begin);
      for (std::int64_t i = 0; i < size; ++i)
        plain[i] = static_cast<double>(maximum) - static_cast<double>(z[begin + i]);
      sums.plain += lane_sum(plain, size);
      if (!has_target) continue;
      for (std::int64_t i = 0; i < size; ++i) weighted[i] = static_cast<double>(t[begin + i]) * plain[i];
      sums.weighted += lane_sum(weighted, size);
      sums.targets += lane_sum(t + begin, size);
    }
    return sums;
  }
};

class Crossentropy final : public Executable {
 public:
  Crossentropy(const Recipe& recipe, std::span<void* const> buffers)
      : targets_(recipe, buffers),
        form_(crossentropy_form(recipe.attributes)),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        value_(pointer<double>(recipe, buffers, "value")),
        threads_(recipe.threads),
        sum_(targets_.batch * targets_.rows, targets_.rows_in_block()) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, targets_.batch);
    const double sum = sum_(rows * targets_.rows, threads_, [&](std::int64_t begin, std::int64_t end) {
      if (targets_.are_short(form_)) return of_short_rows(begin, end);
      double part = 0;
      for (std::int64_t row = begin; row < end; ++row)
        if (const double weight = reduction_.weight(row); weight != 0) part += weight * of_row(row);
      return part;
    });
    *value_ = reduction_.value(sum, rows);
  }

 private:
  double of_short_rows(std::int64_t begin, std::int64_t end) const {
    ShortRows part;
    double sum = 0;
    for (std::int64_t first = begin; first < end; first += ShortRows::lanes) {
      const std::int64_t count = std::min(ShortRows::lanes, end - first);
      dispatch(ShortRowsLoop<true>{}, targets_.prediction + first * targets_.classes, count, targets_.classes, &part);
      for (std::int64_t lane = 0; lane < count; ++lane)
        if (const double weight = reduction_.weight(first + lane); weight != 0)
          sum += weight * of_short_row(first + lane, part.maxima[lane], part.logarithms[lane]);
    }
    return sum;
  }

  double of_short_row(std::int64_t row, float maximum, double logarithm) const {
    const std::int64_t chosen = targets_.class_of(row);
    if (chosen < 0) return std::numeric_limits<double>::quiet_NaN();
    const float* z = targets_.prediction + row * targets_.classes;
    double value = targets_.total() * logarithm + targets_.keep * (static_cast<double>(maximum) - z[chosen]);
    if (targets_.spread != 0)
      for (std::int64_t entry = 0; entry < targets_.classes; ++entry)
        value += targets_.spread * (static_cast<double>(maximum) - static_cast<double>(z[entry]));
    return value;
  }

  double of_row(std::int64_t row) const {
    if (targets_.has_classes() && targets_.class_of(row) < 0) return std::numeric_limits<double>::quiet_NaN();
    const float* prediction = targets_.prediction + row * targets_.classes;
    switch (form_) {
      case CrossentropyForm::logits:
        return of_logits(row, prediction);
      case CrossentropyForm::probabilities:
        return of_probabilities(row, prediction);
      case CrossentropyForm::clipped_probabilities:
        return of_clipped_probabilities(row, prediction);
    }
    return 0;
  }

  double of_logits(std::int64_t row, const float* z) const {
    const std::int64_t classes = targets_.classes;
    const float maximum = dispatch(RowMaximum{}, z, classes);
    const double logarithm =
        std::log(dispatch(RowExponentials<false>{}, z, maximum, static_cast<float*>(nullptr), classes));
    double value = 0;
    if (targets_.target) {
      const auto sums = dispatch(RowDistances<true>{}, z, targets_.target + row * classes, maximum, classes);
      const double total = targets_.keep * sums.targets + targets_.spread * static_cast<double>(classes);
      value = total * logarithm + targets_.keep * sums.weighted;
      if (targets_.spread != 0) value += targets_.spread * sums.plain;
      return value;
    }
    value = targets_.total() * logarithm;
    if (targets_.has_classes()) value += targets_.keep * (static_cast<double>(maximum) - z[targets_.class_of(row)]);
    if (targets_.spread != 0)
      value += targets_.spread *
               dispatch(RowDistances<false>{}, z, static_cast<const float*>(nullptr), maximum, classes).plain;
    return value;
  }

  double of_probabilities(std::int64_t row, const float* p) const {
    double total = 0, value = 0;
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) total += p[entry];
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry)
      if (const double t = targets_.smoothed(row, entry); t != 0)
        value -= t * std::log(clip_probability(p[entry] / total));
    return value;
  }

  double of_clipped_probabilities(std::int64_t row, const float* p) const {
    double total = 0, value = 0;
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) {
      const double clipped = clip_probability(p[entry]), t = targets_.smoothed(row, entry);
      total += clipped;
      if (t != 0) value -= t * std::log(clipped);
    }
    return value + targets_.total(row) * std::log(total);
  }

  CrossentropyTargets targets_;
  CrossentropyForm form_;
  Reduction reduction_;
  const double* rows_;
  double* value_;
  int threads_;
  BlockSum sum_;
};

void validate(const Recipe& recipe) { check_crossentropy(recipe, {{"value", Access::write, DType::f64}}); }

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Crossentropy>(recipe, buffers);
}

}  // namespace

extern const KernelDef crossentropy;
const KernelDef crossentropy{
    .name = "crossentropy",
    .summary = "crossentropy over rows of classes",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
