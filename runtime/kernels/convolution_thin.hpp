// Convolutions over images of few channels, as a network's first layer has them: every filter tap of a pixel is one
// factor, and the filters lie along vectors. Images are copied into a frame of zeros first, so that no tap lies
// outside; the tap of an output pixel is then at a fixed distance from the pixel's own place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

struct ThinGeometry {
  explicit ThinGeometry(const Recipe& recipe) {
    const Dims& image = recipe.operand("src").shape.dims;
    const RecipeOperand* result = recipe.find("dst");
    const Dims& out = (result ? *result : recipe.operand("diff_dst")).shape.dims;
    const RecipeOperand* weights = recipe.find("weights");
    const Dims& kernel = (weights ? *weights : recipe.operand("diff_weights")).shape.dims;
    const auto &strides = recipe.attributes.integers("strides"), &padding = recipe.attributes.integers("padding");
    batch = image[0], height = image[1], row_values = image[2] * image[3];
    top = padding[0], left_values = padding[2] * image[3];
    frame_row = (image[2] + padding[2] + padding[3]) * image[3];
    frame_values = (image[1] + padding[0] + padding[1]) * frame_row;
    out_height = out[1], out_width = out[2], filters = out[3];
    row_step = strides[0] * frame_row, column_step = strides[1] * image[3];
    for (std::int64_t y = 0; y < kernel[0]; ++y)
      for (std::int64_t x = 0; x < kernel[1] * image[3]; ++x) taps.push_back(y * frame_row + x);
  }

  /// frame: frame_values, zeros around the place of the image.
  void frame_image(const float* image, float* frame) const {
    for (std::int64_t y = 0; y < height; ++y)
      std::copy_n(image + y * row_values, row_values, frame + (top + y) * frame_row + left_values);
  }
  std::int64_t tap_count() const { return static_cast<std::int64_t>(taps.size()); }
  std::int64_t out_values() const { return out_height * out_width * filters; }

  std::int64_t batch, height, row_values, top, left_values, frame_row, frame_values;
  std::int64_t out_height, out_width, filters, row_step, column_step;
  std::vector<std::int64_t> taps;  ///< distance of each tap, in the order of the kernel "hwio"
};

/// Of forward and gradient: `image` "nhwc", `kernel` "hwio", `out` "nhwc", all dense; window, strides and padding lead
/// from one to the other.
inline void check_thin(const Recipe& recipe, std::string_view kernel, std::string_view out, std::string_view bias) {
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  const Shape &image = recipe.operand("src").shape, &weights = recipe.operand(kernel).shape,
              &result = recipe.operand(out).shape;
  if (image.axes != "nhwc" || result.axes != "nhwc" || weights.axes != "hwio")
    reject(recipe, "images must have axes \"nhwc\" and the kernel \"hwio\"");
  integers_setting(recipe, "dilation", 2, 1, 1);
  integer_setting(recipe, "groups", 1, 1);
  check_moves(recipe, image, result, weights.dims[0], weights.dims[1]);
  if (image.dims[0] != result.dims[0] || weights.dims[2] != image.dims[3] || weights.dims[3] != result.dims[3])
    reject(recipe, "the kernel's channels do not fit those of the images");
  if (const RecipeOperand* values = recipe.find(bias); values && values->shape.dims != Dims{result.dims[3]})
    reject(recipe, "the bias must have one value for each output channel");
}

}  // namespace weir::kernels
