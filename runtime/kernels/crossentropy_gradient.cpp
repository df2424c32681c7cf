// gradient = ∂ crossentropy / ∂ prediction · weight / D; 0 behind the real rows. With q the clipped probabilities of
// crossentropy_rows.hpp, [·] 1 where an entry was not clipped, S the sum of a row and T = Σ t':
//   logits:                 T·softmax(z) - t'
//   probabilities:          (Σ [·]·t' - [·]·t' / q) / S
//   clipped_probabilities:  [·]·(T / Σ q - t' / q)
#include "runtime/kernel.hpp"
#include "runtime/kernels/crossentropy_rows.hpp"

namespace weir::kernels {
namespace {

/// gradient (holding the exponentials) becomes gradient · scale - t · keep - spread.
template <bool has_target>
struct RowDifference {
  WEIR_INLINE void operator()(float* gradient, const float* t, float scale, float keep, float spread,
                              std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i)
      gradient[i] = gradient[i] * scale - (has_target ? t[i] * keep + spread : spread);
  }
};

class CrossentropyGradient final : public Executable {
 public:
  CrossentropyGradient(const Recipe& recipe, std::span<void* const> buffers)
      : targets_(recipe, buffers),
        form_(crossentropy_form(recipe.attributes)),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        weight_(pointer<const double>(recipe, buffers, "weight")),
        gradient_(pointer<float>(recipe, buffers, "gradient")),
        threads_(recipe.threads) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, targets_.batch);
    const double factor = reduction_.factor(*weight_, rows);
    const std::int64_t real = factor == 0 ? 0 : rows * targets_.rows;
    Blocks(real, targets_.rows_in_block()).for_each(threads_, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      if (targets_.are_short(form_)) return of_short_rows(begin, end, factor);
      for (std::int64_t row = begin; row < end; ++row) {
        if (const double weight = reduction_.weight(row); weight != 0)
          of_row(row, factor * weight);
        else
          std::fill_n(gradient_ + row * targets_.classes, targets_.classes, 0.0f);
      }
    });
    std::fill(gradient_ + real * targets_.classes, gradient_ + targets_.batch * targets_.rows * targets_.classes, 0.0f);
  }

 private:
  void of_short_rows(std::int64_t begin, std::int64_t end, double factor) const {
    ShortRows part;
    for (std::int64_t first = begin; first < end; first += ShortRows::lanes) {
      const std::int64_t count = std::min(ShortRows::lanes, end - first);
      dispatch(ShortRowsLoop<false>{}, targets_.prediction + first * targets_.classes, count, targets_.classes, &part);
      for (std::int64_t lane = 0; lane < count; ++lane)
        of_short_row(first + lane, part.exponentials + lane, part.sums[lane], factor * reduction_.weight(first + lane));
    }
  }

  void of_short_row(std::int64_t row, const float* exponentials, double sum, double factor) const {
    float* gradient = gradient_ + row * targets_.classes;
    const std::int64_t chosen = targets_.class_of(row);
    if (factor == 0 || chosen < 0) {
      std::fill_n(gradient, targets_.classes, factor == 0 ? 0.0f : std::numeric_limits<float>::quiet_NaN());
      return;
    }
    const double total = targets_.total();
    const auto whole = static_cast<float>(factor / sum * total), spread = static_cast<float>(factor * targets_.spread);
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry)
      gradient[entry] = exponentials[entry * ShortRows::lanes] * whole - spread;
    gradient[chosen] = static_cast<float>(factor * (total * exponentials[chosen * ShortRows::lanes] / sum -
                                                    targets_.keep - targets_.spread));  // in double: as in by_logits
  }

  void of_row(std::int64_t row, double factor) const {
    const float* prediction = targets_.prediction + row * targets_.classes;
    float* gradient = gradient_ + row * targets_.classes;
    if (targets_.has_classes() && targets_.class_of(row) < 0) {
      std::fill_n(gradient, targets_.classes, std::numeric_limits<float>::quiet_NaN());
      return;
    }
    switch (form_) {
      case CrossentropyForm::logits:
        return by_logits(row, prediction, gradient, factor);
      case CrossentropyForm::probabilities:
        return by_probabilities(row, prediction, gradient, factor);
      case CrossentropyForm::clipped_probabilities:
        return by_clipped_probabilities(row, prediction, gradient, factor);
    }
  }

  void by_logits(std::int64_t row, const float* z, float* gradient, double factor) const {
    const std::int64_t classes = targets_.classes;
    const float maximum = dispatch(RowMaximum{}, z, classes);
    const double sum = dispatch(RowExponentials<true>{}, z, maximum, gradient, classes), scale = factor / sum;
    const auto keep = static_cast<float>(factor * targets_.keep), spread = static_cast<float>(factor * targets_.spread);
    if (targets_.target) {
      const float whole = static_cast<float>(scale * targets_.total(row));
      dispatch(RowDifference<true>{}, gradient, targets_.target + row * classes, whole, keep, spread, classes);
      return;
    }
    const double total = targets_.total();
    const std::int64_t chosen = targets_.has_classes() ? targets_.class_of(row) : -1;
    const double exponential = chosen < 0 ? 0 : gradient[chosen];
    dispatch(RowDifference<false>{}, gradient, static_cast<const float*>(nullptr), static_cast<float>(scale * total),
             keep, spread, classes);
    if (chosen >= 0)  // in double: near certainty the difference cancels
      gradient[chosen] = static_cast<float>(factor * (total * exponential / sum - targets_.keep - targets_.spread));
  }

  void by_probabilities(std::int64_t row, const float* p, float* gradient, double factor) const {
    double total = 0, reached = 0;
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) total += p[entry];
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry)
      if (!is_clipped(p[entry] / total)) reached += targets_.smoothed(row, entry);
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) {
      const double q = p[entry] / total, own = is_clipped(q) ? 0 : targets_.smoothed(row, entry) / q;
      gradient[entry] = static_cast<float>(factor * (reached - own) / total);
    }
  }

  void by_clipped_probabilities(std::int64_t row, const float* p, float* gradient, double factor) const {
    double total = 0;
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) total += clip_probability(p[entry]);
    const double share = targets_.total(row) / total;
    for (std::int64_t entry = 0; entry < targets_.classes; ++entry) {
      const double q = p[entry], slope = is_clipped(q) ? 0 : share - targets_.smoothed(row, entry) / q;
      gradient[entry] = static_cast<float>(factor * slope);
    }
  }

  CrossentropyTargets targets_;
  CrossentropyForm form_;
  Reduction reduction_;
  const double *rows_, *weight_;
  float* gradient_;
  int threads_;
};

void validate(const Recipe& recipe) {
  check_crossentropy(recipe, {{"weight", Access::read, DType::f64}, {"gradient", Access::write}});
  check_equal_shapes(recipe, "prediction", "gradient");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<CrossentropyGradient>(recipe, buffers);
}

constexpr InPlace in_place[] = {{"gradient", "prediction"}};

}  // namespace

extern const KernelDef crossentropy_gradient;
const KernelDef crossentropy_gradient{
    .name = "crossentropy_gradient",
    .summary = "gradient of crossentropy by its prediction",
    .validate = validate,
    .create = create,
    .in_place = in_place,
};

}  // namespace weir::kernels
