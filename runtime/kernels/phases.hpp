// The four phases of an image of even extents: pixels (2i + p, 2j + q) for p and q 0 or 1. They lie side by side in the
// channels of a small image that has one row and one column more than half of the large one: phase (p, q) of pixel
// (i, j) at (i + p, j + q), in the channels from (2p + q) · filters on.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/kernels/buffers.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

/// Both images in one layout: "nhwc", or channels in blocks that divide the filters. A run is the channels of a pixel
/// that lie together.
struct PhaseGeometry {
  PhaseGeometry(const Shape& large, const Shape& phases)
      : batch(large.dims[0]), height(large.dims[1]), width(large.dims[2]), filters(large.dims[3]) {
    run = large.layout == "nhwc" ? filters : block_of(large);
    runs = filters / run;
    small_height = phases.dims[1], small_width = phases.dims[2];
    blocked = large.layout != "nhwc";
    step = blocked ? run : 4 * filters;
  }

  static std::int64_t block_of(const Shape& shape) { return std::stoll(shape.layout.substr(4)); }  // "nChw16c"

  /// Where run `index` of a row of the large image begins; pixels follow each other.
  std::int64_t row(std::int64_t sample, std::int64_t index, std::int64_t y) const {
    return ((sample * runs + index) * height + y) * width * run;
  }
  /// Where the same run of a phase of a small pixel lies; pixels are `step` apart.
  std::int64_t phase(std::int64_t sample, std::int64_t index, std::int64_t phase, std::int64_t i,
                     std::int64_t j) const {
    const std::int64_t pixels = small_height * small_width, first = sample * 4 * filters * pixels;
    const std::int64_t place = (i * small_width + j) * step;
    return first + place + (blocked ? (phase * runs + index) * pixels * run : phase * filters);
  }

  std::int64_t batch, height, width, filters;  ///< of the large image
  std::int64_t run, runs, small_height, small_width, step;
  bool blocked;
};

/// `large` and `phases` are the two images.
inline void check_phases(const Recipe& recipe, std::string_view large_role, std::string_view phases_role) {
  const Shape &large = recipe.operand(large_role).shape, &phases = recipe.operand(phases_role).shape;
  if (large.axes != "nhwc" || phases.axes != "nhwc" || large.layout != phases.layout)
    reject(recipe, "both images must have axes \"nhwc\" and one layout");
  const bool blocked = large.layout == "nChw8c" || large.layout == "nChw16c";
  if (!blocked && large.layout != "nhwc") reject(recipe, "images must be \"nhwc\", \"nChw8c\" or \"nChw16c\"");
  if (blocked && large.dims[3] % PhaseGeometry::block_of(large) != 0)
    reject(recipe, "the filters must come in whole blocks");
  const Dims expected{large.dims[0], large.dims[1] / 2 + 1, large.dims[2] / 2 + 1, 4 * large.dims[3]};
  if (large.dims[1] % 2 != 0 || large.dims[2] % 2 != 0 || phases.dims != expected)
    reject(recipe,
           "phases must have half the height and width of the image, and one more, and four times its channels");
}

}  // namespace weir::kernels
