#include "compiler/gradient_agreement.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include <fmt/format.h>

namespace weir {
namespace {

constexpr int least_exponent = -7, most_exponent = -2;
/// Where kernels round: |d value / d entry| · 1e-6 is what rounding does to a unit that the entry moves.
constexpr int rounding_exponent = -6;

enum class Verdict { agrees, differs, kink };
struct Finding {
  Verdict verdict = Verdict::kink;
  double difference = 0;
  double allowance = 0;  ///< rounding of the difference itself
};

std::string index_text(std::int64_t entry, const Dims& dims) {
  Dims index(dims.size());
  for (std::size_t axis = dims.size(); axis-- > 0; entry /= dims[axis]) index[axis] = entry % dims[axis];
  return to_string(index);
}

/// One parameter's gradient of one loss.
class Agreement {
 public:
  Agreement(const std::string& parameter, const Dims& dims, const LossGradient& gradient, Differences& differences)
      : dims_(dims), gradient_(gradient), differences_(differences) {
    check_.parameter = parameter;
    check_.entries = static_cast<std::int64_t>(gradient.reference.size());
  }

  GradientCheck run(const std::vector<std::int64_t>& entries, std::int64_t samples,
                    std::vector<std::int64_t>& left_out) {
    compare_all(samples, left_out);
    for (std::int64_t entry : entries)
      if (std::find(left_out.begin(), left_out.end(), entry) == left_out.end()) compare_with_differences(entry);
    return std::move(check_);
  }

 private:
  double reference(std::int64_t entry) const { return gradient_.reference[static_cast<std::size_t>(entry)]; }
  double compiled(std::int64_t entry) const { return gradient_.compiled[static_cast<std::size_t>(entry)]; }
  double compiled_error(std::int64_t entry) const {
    return relative_error(compiled(entry) - reference(entry), gradient_.scale());
  }

  void compare_all(std::int64_t samples, std::vector<std::int64_t>& left_out) {
    std::vector<std::int64_t> apart;
    for (std::int64_t entry = 0; entry < check_.entries; ++entry)
      if (compiled_error(entry) > compiled_tolerance)
        apart.push_back(entry);
      else
        check_.compiled_reference = std::max(check_.compiled_reference, compiled_error(entry));
    std::stable_sort(apart.begin(), apart.end(),
                     [&](std::int64_t a, std::int64_t b) { return compiled_error(a) > compiled_error(b); });
    for (std::size_t i = 0; i < apart.size() && static_cast<std::int64_t>(i) < samples; ++i)
      if (!rounds_over_a_kink(apart[i])) {
        check_.compiled_reference = std::max(check_.compiled_reference, compiled_error(apart[i]));
        fail(apart[i], at_level(apart[i], start_exponent()).difference);
        return;
      }
    check_.kinks += static_cast<std::int64_t>(apart.size());
    left_out = std::move(apart);
  }

  bool rounds_over_a_kink(std::int64_t entry) {
    const Slopes slopes = differences_.at(entry, rounding_exponent, gradient_.weights);
    const double jump = std::abs(slopes.right - slopes.left);
    return std::abs(compiled(entry) - reference(entry)) <= 2 * jump && jump > 4 * gradient_.noise / slopes.step;
  }

  void compare_with_differences(std::int64_t entry) {
    const Finding finding = find(entry);
    if (finding.verdict == Verdict::kink) {
      ++check_.kinks;
      return;
    }
    ++check_.checked;
    const double size = std::max(gradient_.largest, std::abs(finding.difference));
    const double exact =
        relative_error(reference(entry) - finding.difference, size + finding.allowance / difference_tolerance);
    const double rounded = relative_error(compiled(entry) - finding.difference,
                                          std::max(gradient_.scale(), size) + finding.allowance / compiled_tolerance);
    check_.reference_differences = std::max(check_.reference_differences, exact);
    check_.compiled_differences = std::max(check_.compiled_differences, rounded);
    if (finding.verdict == Verdict::differs || rounded > compiled_tolerance + difference_tolerance)
      fail(entry, finding.difference);
  }

  /// The smallest step at which rounding of the loss's value stays well below what is looked for.
  int start_exponent() const {
    const double wanted = gradient_.noise / (0.1 * difference_tolerance * gradient_.largest);
    if (!(wanted < 1)) return gradient_.largest > 0 ? most_exponent : rounding_exponent;
    return std::clamp(static_cast<int>(std::ceil(std::log10(wanted))), least_exponent, most_exponent);
  }

  /// Smaller steps leave kinks beside the entry behind; the rounding they bring is allowed for.
  Finding find(std::int64_t entry) {
    Finding found;
    for (int level = 0; level < 3; ++level) {
      const Finding here = at_level(entry, start_exponent() - level);
      if (here.verdict == Verdict::agrees) return here;
      if (here.verdict == Verdict::differs && found.verdict == Verdict::kink) found = here;
    }
    return found;
  }

  Finding at_level(std::int64_t entry, int exponent) {
    const Slopes slopes = differences_.at(entry, exponent, gradient_.weights);
    Finding finding{Verdict::kink, slopes.central(), gradient_.noise / slopes.step};
    const double allowed = difference_tolerance * std::max(gradient_.largest, std::abs(finding.difference));
    const bool smooth = !(std::abs(slopes.right - slopes.left) > allowed + 4 * finding.allowance);
    const bool close = std::abs(reference(entry) - finding.difference) <= allowed + finding.allowance;
    if (smooth) finding.verdict = close ? Verdict::agrees : Verdict::differs;
    return finding;
  }

  void fail(std::int64_t entry, double difference) {
    if (!check_.problem.empty()) return;
    check_.problem = fmt::format(
        "entry {} is {:.7g} compiled, {:.7g} in the reference, {:.7g} by differences; the "
        "largest entry is {:.3g}",
        index_text(entry, dims_), compiled(entry), reference(entry), difference, gradient_.largest);
  }

  const Dims& dims_;
  const LossGradient& gradient_;
  Differences& differences_;
  GradientCheck check_;
};

double weighted(const std::vector<double>& weights, const std::vector<double>& from, const std::vector<double>& to) {
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (weights[i] != 0) sum += weights[i] * (to[i] - from[i]);
  return sum;
}

}  // namespace

double LossGradient::scale() const { return std::max(largest, rounding / compiled_tolerance); }

double relative_error(double error, double scale) {
  if (std::abs(error) <= FLT_MIN) return 0;
  const double relative = std::abs(error) / scale;
  return std::isnan(relative) ? HUGE_VAL : relative;
}

Slopes Differences::at(std::int64_t entry, int exponent, const std::vector<double>& weights) {
  const double step = std::pow(10.0, exponent);
  const auto [found, added] = values_.try_emplace({entry, exponent});
  if (added) found->second = {probe_.values(parameter_, entry, -step), probe_.values(parameter_, entry, step)};
  const auto& [below, above] = found->second;
  return {weighted(weights, below, probe_.values()) / step, weighted(weights, probe_.values(), above) / step, step};
}

GradientCheck check_gradient(const std::string& parameter, const Dims& dims, const LossGradient& gradient,
                             Differences& differences, const std::vector<std::int64_t>& entries, std::int64_t samples,
                             std::vector<std::int64_t>& left_out) {
  return Agreement(parameter, dims, gradient, differences).run(entries, samples, left_out);
}

}  // namespace weir
