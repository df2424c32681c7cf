#include "runtime/onednn/estimate.hpp"

#include <algorithm>
#include <span>
#include <string_view>

#include "runtime/onednn/engine.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir {
namespace {

/// Of one thread: operations and bytes in a second, and what a step costs beside. Round numbers: a layout's gain must
/// be clear to be taken (assign_layouts).
constexpr double narrow_peak = 1e11, wide_peak = 1.6e11, bytes_per_second = 3e10, call = 1e-6;
constexpr double share_of_peak = 0.8, depthwise_share = 0.3, winograd_share = 1.3;

/// Time in blocked layouts over time in nhwc. Measured on oneDNN 3.2 with one thread (AMD EPYC, the least of several
/// runs, over the shapes of the bundled models and bench's, on a machine with other load): geometric means, what is
/// within the noise as 1. The direction decides more than the shape, but for depthwise and strided kernels.
struct Ratio {
  std::string_view kernel;
  double avx2, avx512;
};
constexpr Ratio ratios[] = {{"convolution_forward", 1.05, 1},
                            {"convolution_backward_data", 0.95, 0.9},
                            {"convolution_backward_weights", 0.82, 1},
                            {"batch_normalization_forward", 1.14, 1},
                            {"batch_normalization_backward", 0.43, 0.95},
                            {"pooling_forward", 1.45, 0.9},
                            {"pooling_backward", 1.05, 1.4},
                            {"resampling_forward", 1.9, 1.6},
                            {"resampling_backward", 2.2, 1.35}};
constexpr Ratio strided_ratios[] = {{"convolution_forward", 0.95, 0.88},
                                    {"convolution_backward_data", 0.78, 0.68},
                                    {"convolution_backward_weights", 0.8, 1}};
constexpr Ratio depthwise_ratios[] = {{"convolution_forward", 1.1, 0.95},
                                      {"convolution_backward_data", 2.2, 1.5},
                                      {"convolution_backward_weights", 0.9, 0.75}};

bool is_blocked(const Recipe& recipe) {
  return std::any_of(recipe.operands.begin(), recipe.operands.end(), [](const RecipeOperand& operand) {
    return operand.shape.axes == "nhwc" && operand.shape.layout.starts_with("nChw");
  });
}

bool is_convolution(const Recipe& recipe) { return recipe.kernel.starts_with("convolution_"); }
bool is_depthwise(const Recipe& recipe) { return is_convolution(recipe) && recipe.attributes.integer("groups") > 1; }
bool is_strided(const Recipe& recipe) { return is_convolution(recipe) && recipe.attributes.integers("strides")[0] > 1; }

double ratio_in(std::span<const Ratio> list, const Recipe& recipe) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Ratio& ratio) { return ratio.kernel == recipe.kernel; });
  if (found == list.end()) return 1;
  return has_widest_vectors() ? found->avx512 : found->avx2;
}

double ratio_of(const Recipe& recipe) {
  if (recipe.kernel == "reorder" || !is_blocked(recipe)) return 1;
  if (is_depthwise(recipe)) return ratio_in(depthwise_ratios, recipe);
  if (is_strided(recipe)) return ratio_in(strided_ratios, recipe);
  return ratio_in(ratios, recipe);
}

double bytes_of(const Recipe& recipe) {
  double bytes = 0;
  for (const RecipeOperand& operand : recipe.operands)
    if (operand.role != "scratch" && !operand.shape.layout.empty())
      bytes += static_cast<double>(element_count(operand.shape.dims)) * static_cast<double>(size_of(operand.dtype)) *
               (operand.access == Access::update ? 2 : 1);
  return bytes;
}

}  // namespace

double estimated_seconds(const Recipe& recipe, int threads) {
  const double share = is_depthwise(recipe)                                 ? depthwise_share
                       : recipe.kernel.starts_with("convolution_winograd_") ? winograd_share
                                                                            : share_of_peak;
  const double peak = share * (has_widest_vectors() ? wide_peak : narrow_peak);
  const double arithmetic = is_product(recipe) ? flops_of(recipe) / peak : 0;
  return call + ratio_of(recipe) * std::max(arithmetic, bytes_of(recipe) / bytes_per_second) / threads;
}

}  // namespace weir
