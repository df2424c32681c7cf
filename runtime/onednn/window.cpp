// What the describe functions share: operands as descriptors, window geometry, post-ops.
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

/// Larger strides, windows and paddings have no use; oneDNN computes with them in 32 bits.
constexpr std::int64_t largest_setting = 1 << 20;

}  // namespace

dnnl::memory::desc desc_of(const Recipe& recipe, std::string_view role) {
  const RecipeOperand* operand = recipe.find(role);
  return operand ? to_desc(operand->shape, operand->dtype) : dnnl::memory::desc();
}

std::int64_t extent(const Shape& shape, char letter) { return shape.dims.at(shape.axes.find(letter)); }

Window read_window(const Recipe& recipe, const std::string& spatial, std::vector<std::int64_t> extents, bool dilated) {
  const std::size_t rank = spatial.size();
  Window window{.extents = std::move(extents),
                .strides = integers_setting(recipe, "strides", rank, 1, largest_setting),
                .dilation = std::vector<std::int64_t>(rank, 0),
                .begin = {},
                .end = {}};
  if (dilated)
    for (std::size_t i = 0; auto dilation : integers_setting(recipe, "dilation", rank, 1, largest_setting))
      window.dilation[i++] = dilation - 1;
  const auto padding = integers_setting(recipe, "padding", 2 * rank, 0, largest_setting);
  for (std::size_t i = 0; i < rank; ++i) {
    window.begin.push_back(padding[2 * i]);
    window.end.push_back(padding[2 * i + 1]);
  }
  return window;
}

void check_window(const Recipe& recipe, const Window& window, const std::string& spatial, const Shape& large,
                  const Shape& small) {
  if (large.axes != small.axes || extent(large, 'n') != extent(small, 'n'))
    reject(recipe, "both images must have the same axes and the same number of rows");
  for (std::size_t i = 0; i < spatial.size(); ++i) {
    if (window.extents[i] > largest_setting) reject(recipe, "the window is too large");
    const std::int64_t covered = (window.extents[i] - 1) * (window.dilation[i] + 1) + 1;
    const std::int64_t room = extent(large, spatial[i]) + window.begin[i] + window.end[i] - covered;
    if (room < 0 || room / window.strides[i] + 1 != extent(small, spatial[i]))
      reject(recipe,
             std::string("window, strides and padding do not lead from one image to the other on axis ") + spatial[i]);
  }
}

std::string spatial_axes(const Recipe& recipe, const Shape& shape) {
  for (const char* axes : {"nhwc", "nwc", "ndhwc"})
    if (shape.axes == axes) return shape.axes.substr(1, shape.axes.size() - 2);
  reject(recipe, "axes \"" + shape.axes + "\" are no images: \"nwc\", \"nhwc\" or \"ndhwc\" is needed");
}

Eltwise eltwise_of(const std::string& word) {
  if (word == "relu") return {dnnl::algorithm::eltwise_relu};
  if (word == "relu6") return {dnnl::algorithm::eltwise_clip, 0.0f, 6.0f};
  if (word == "tanh") return {dnnl::algorithm::eltwise_tanh};
  return {dnnl::algorithm::eltwise_logistic};
}

void check_post_op(const Recipe& recipe) {
  if (recipe.attributes.has("post_op")) word_setting(recipe, "post_op", {"relu", "relu6", "tanh", "logistic"});
}

dnnl::primitive_attr with_post_op(const Recipe& recipe, dnnl::primitive_attr attributes) {
  if (!recipe.attributes.has("post_op")) return attributes;
  dnnl::post_ops operations;
  const Eltwise function = eltwise_of(recipe.attributes.word("post_op"));
  operations.append_eltwise(function.algorithm, function.alpha, function.beta);
  attributes.set_post_ops(operations);
  return attributes;
}

}  // namespace weir
