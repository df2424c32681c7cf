// What batch normalization and its gradient share: the activation behind it, and the value in front of that.
//   value = (src - mean) · factor + shift, with factor = scale / sqrt(variance + epsilon)
// The gradient computes the value again where it needs to know what the activation let through: the same lines and the
// same rounded numbers give the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/channel_rows.hpp"

namespace weir::kernels {

enum class After { nothing, relu, relu6 };

inline After after_of(const Recipe& recipe) {
  if (!recipe.attributes.has("post_op")) return After::nothing;
  return recipe.attributes.word("post_op") == "relu" ? After::relu : After::relu6;
}

template <After after, class Number>
WEIR_INLINE void activate(Number& value) {
  if constexpr (after != After::nothing) value = value < 0 ? Number{} : value;  // NaN stays NaN
  if constexpr (after == After::relu6) value = value > 6 ? Number{} + 6 : value;
}

/// Zero where the activation let nothing through: `value` may stand before or behind it. One comparison: of two, one
/// behind the other, GCC 12 makes scalar code.
template <After after, class Number>
WEIR_INLINE void mask(const Number& value, Number& gradient) {
  if constexpr (after == After::relu) gradient = value > 0 ? gradient : Number{};
  if constexpr (after == After::relu6) gradient = value * (6 - value) > 0 ? gradient : Number{};
}

/// per_deviation = 1 / sqrt(variance + epsilon), factor = scale · per_deviation; scales: null for 1.
struct Factors {
  WEIR_INLINE void operator()(const float* variances, const float* scales, double epsilon, double* per_deviation,
                              float* factors, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t c = 0; c < count; ++c) {
      per_deviation[c] = 1 / std::sqrt(static_cast<double>(variances[c]) + epsilon);
      factors[c] = static_cast<float>(per_deviation[c]);
    }
    for (std::int64_t c = 0; scales && c < count; ++c)
      factors[c] = static_cast<float>(static_cast<double>(scales[c]) * per_deviation[c]);
  }
};

/// mean, factor and shift of each lane. Lanes that pad a layout have 0 for all of them, so that they stay 0.
class Normalization {
 public:
  Normalization(const Recipe& recipe, std::span<void* const> buffers, const ChannelRows& rows)
      : mean(static_cast<std::size_t>(rows.all_lanes())),
        factor(mean.size()),
        shift(mean.size()),
        per_deviation(static_cast<std::size_t>(rows.channels())),
        rows_(rows),
        scale_(pointer<const float>(recipe, buffers, "scale")),
        shift_(pointer<const float>(recipe, buffers, "shift")),
        epsilon_(recipe.attributes.number("epsilon")),
        factors_(per_deviation.size()) {}

  /// By the statistics of each channel, for these channels.
  void settle(ChannelRange range, const float* means, const float* variances) {
    const std::int64_t first = range.first;
    dispatch(Factors{}, variances + first, scale_ ? scale_ + first : nullptr, epsilon_, per_deviation.data() + first,
             factors_.data() + first, range.last - first);
    rows_.spread(range, means, mean);
    rows_.spread(range, factors_.data(), factor);
    if (shift_) rows_.spread(range, shift_, shift);  // else 0 from the start
  }

  std::vector<float> mean, factor, shift;  ///< by lane
  std::vector<double> per_deviation;       ///< by channel

 private:
  const ChannelRows& rows_;
  const float *scale_, *shift_;
  double epsilon_;
  std::vector<float> factors_;  ///< by channel
};

/// Settings, and operands of one number a channel; the others are images like src.
inline void check_normalization(const Recipe& recipe, std::initializer_list<std::string_view> images) {
  check_attribute_names(recipe, {"epsilon", "post_op"});
  number_setting(recipe, "epsilon", 0, 1e30);
  if (recipe.attributes.has("post_op")) word_setting(recipe, "post_op", {"relu", "relu6"});
  ChannelRows::check(recipe, "src");
  const Dims channels{recipe.operand("src").shape.dims.back()};
  for (const RecipeOperand& operand : recipe.operands) {
    const bool image = std::find(images.begin(), images.end(), operand.role) != images.end();
    if (image) check_equal_shapes(recipe, "src", operand.role);
    if (!image && (operand.shape.dims != channels || !is_dense(operand.shape)))
      reject(recipe, "operand \"" + operand.role + "\" must have one value for each channel");
  }
}

}  // namespace weir::kernels
