// A 3 × 3 kernel and the 2 × 2 kernels of the four phases (phases.hpp) of an image that was enlarged twofold: which tap
// of the first goes into which of the second. "hwio" all; the large kernel's channels are those of the enlarged image
// and those of `rest`, another image joined to it.
#pragma once

#include <cstdint>

#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

struct PhaseTaps {
  explicit PhaseTaps(const Recipe& recipe)
      : channels(recipe.operand("phases").shape.dims[2]),
        all_channels(recipe.operand("kernel").shape.dims[2]),
        filters(recipe.operand("kernel").shape.dims[3]),
        small_first(recipe.attributes.flag("small_first")) {}

  /// body(offset in the kernel, offset in the phases, filters) for each row of filters of each phase's taps.
  template <class Body>
  void for_each(Body&& body) const {
    for (std::int64_t tap = 0; tap < 9; ++tap)
      for (std::int64_t phase = 0; phase < 4; ++phase) {
        const std::int64_t row = (tap / 3 + 1 - phase / 2) / 2, column = (tap % 3 + 1 - phase % 2) / 2;
        for (std::int64_t channel = 0; channel < channels; ++channel)
          body((tap * all_channels + (small_first ? 0 : all_channels - channels) + channel) * filters,
               (((row * 2 + column) * channels + channel) * 4 + phase) * filters, filters);
      }
  }
  /// body(offset in the kernel, offset in rest, count) for each tap.
  template <class Body>
  void for_each_of_rest(Body&& body) const {
    const std::int64_t count = (all_channels - channels) * filters;
    for (std::int64_t tap = 0; tap < 9; ++tap)
      body((tap * all_channels + (small_first ? channels : 0)) * filters, tap * count, count);
  }

  std::int64_t channels, all_channels, filters;
  bool small_first;
};

inline void check_phase_taps(const Recipe& recipe) {
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  const Shape &kernel = recipe.operand("kernel").shape, &phases = recipe.operand("phases").shape;
  const RecipeOperand* rest = recipe.find("rest");
  if (kernel.axes != "hwio" || phases.axes != "hwio" || (rest && rest->shape.axes != "hwio"))
    reject(recipe, "all kernels must have axes \"hwio\"");
  const std::int64_t others = kernel.dims[2] - phases.dims[2], filters = kernel.dims[3];
  if (kernel.dims[0] != 3 || kernel.dims[1] != 3 || phases.dims != Dims{2, 2, phases.dims[2], 4 * filters})
    reject(recipe, "the kernel must be 3 by 3, and that of the phases 2 by 2 with four times its filters");
  if (others < 0 || (others > 0) != (rest != nullptr) || (rest && rest->shape.dims != Dims{3, 3, others, filters}))
    reject(recipe, "rest must be the kernel's channels that are not the phases'");
  flag_setting(recipe, "small_first");
}

}  // namespace weir::kernels
