// How a recipe becomes a oneDNN primitive descriptor: one record for each kernel name. Internal to this folder.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "runtime/kernel.hpp"
#include "runtime/recipe_check.hpp"

namespace weir {

struct PrimitiveDef {
  std::string_view name;
  std::span<const OperandRule> operands;  ///< beside "workspace" and "scratch"
  bool workspace = false;                 ///< may have one
  /// Extents against each other and settings; operands, types and layouts were checked before.
  void (*check)(const Recipe& recipe) = nullptr;
  /// Layouts may be "any". Backward primitives build their forward hint from the recipe itself.
  dnnl::primitive_desc_base (*describe)(const Recipe& recipe, const dnnl::primitive_attr& attributes) = nullptr;
  std::span<const InPlace> in_place = {};
  /// What the library insists on though the recipe may have no operand for it: results nobody reads.
  std::span<const std::string_view> owned = {};
};

extern const PrimitiveDef convolution_forward, convolution_backward_data, convolution_backward_weights;
extern const PrimitiveDef inner_product_forward, inner_product_backward_data, inner_product_backward_weights;
extern const PrimitiveDef pooling_forward, pooling_backward;
extern const PrimitiveDef batch_normalization_forward, batch_normalization_inference, batch_normalization_backward;
extern const PrimitiveDef layer_normalization_forward, layer_normalization_backward;
extern const PrimitiveDef resampling_forward, resampling_backward;
extern const PrimitiveDef softmax_forward, softmax_backward, eltwise_forward, reorder;

/// Null for a name that is none.
const PrimitiveDef* find_primitive(std::string_view name);

// ---- What the describe functions share

/// Descriptor of an operand; an empty one where the recipe has no such operand.
dnnl::memory::desc desc_of(const Recipe& recipe, std::string_view role);

/// Extent along a letter; the letter must be there.
std::int64_t extent(const Shape& shape, char letter);

/// Window geometry on the spatial axes, in canonical order; oneDNN counts dilation from 0.
struct Window {
  std::vector<std::int64_t> extents, strides, dilation, begin, end;
};

/// Settings "strides", "padding" (begin and end of each axis in turn) and, where `dilated`, "dilation"; 1 otherwise.
Window read_window(const Recipe& recipe, const std::string& spatial, std::vector<std::int64_t> extents, bool dilated);

/// Rejects where the large side, seen through the window, has not the extents of the small side.
void check_window(const Recipe& recipe, const Window& window, const std::string& spatial, const Shape& large,
                  const Shape& small);

/// Letters of the spatial axes: "hw" of "nhwc". Rejects axes that are no images.
std::string spatial_axes(const Recipe& recipe, const Shape& shape);

/// An elementwise function by our word.
struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha = 0, beta = 0;
};
Eltwise eltwise_of(const std::string& word);

/// "post_op", where the recipe has one: checked, and added to the attributes (which are a handle: to all its copies).
void check_post_op(const Recipe& recipe);
dnnl::primitive_attr with_post_op(const Recipe& recipe, dnnl::primitive_attr attributes);

}  // namespace weir
