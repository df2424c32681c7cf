// Pooling over windows. The average divides by the entries inside the image (Keras). In training, max pooling notes in
// a workspace which entry of each window was the largest.
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

const Shape& either(const Recipe& recipe, std::string_view one, std::string_view other) {
  const RecipeOperand* operand = recipe.find(one);
  return operand ? operand->shape : recipe.operand(other).shape;
}

std::string algorithm(const Recipe& recipe) {
  return word_setting(recipe, "algorithm", {"max", "average", "average_with_padding"});
}
bool is_max(const Recipe& recipe) { return algorithm(recipe) == "max"; }

dnnl::algorithm algorithm_of(const Recipe& recipe) {
  if (is_max(recipe)) return dnnl::algorithm::pooling_max;
  return algorithm(recipe) == "average" ? dnnl::algorithm::pooling_avg_exclude_padding
                                        : dnnl::algorithm::pooling_avg_include_padding;
}

Window window_of(const Recipe& recipe) {
  const std::string spatial = spatial_axes(recipe, either(recipe, "src", "diff_src"));
  return read_window(recipe, spatial, integers_setting(recipe, "window", spatial.size(), 1, largest_extent), false);
}

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"algorithm", "window", "strides", "padding"});
  const Shape &large = either(recipe, "src", "diff_src"), &small = either(recipe, "dst", "diff_dst");
  const std::string spatial = spatial_axes(recipe, large);
  const Window window = window_of(recipe);
  check_window(recipe, window, spatial, large, small);
  if (extent(large, 'c') != extent(small, 'c')) reject(recipe, "pooling keeps the number of channels");
  for (std::size_t i = 0; i < spatial.size(); ++i)  // a window that lies in the padding altogether has no largest entry
    if (window.begin[i] >= window.extents[i] || window.end[i] >= window.extents[i])
      reject(recipe, "the padding must be smaller than the window");
  if (!is_max(recipe) && recipe.find("workspace")) reject(recipe, "average pooling has no workspace");
}

void check_backward(const Recipe& recipe) {
  check(recipe);
  if (is_max(recipe) && !recipe.find("workspace"))
    reject(recipe, "the gradient of max pooling needs the workspace of its forward step");
}

dnnl::pooling_forward::primitive_desc forward(const Recipe& recipe, std::string_view src, std::string_view dst,
                                              const dnnl::primitive_attr& attributes) {
  const Window w = window_of(recipe);
  const auto kind = recipe.find("workspace") ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
  return {cpu_engine(),
          kind,
          algorithm_of(recipe),
          desc_of(recipe, src),
          desc_of(recipe, dst),
          w.strides,
          w.extents,
          w.dilation,
          w.begin,
          w.end,
          attributes};
}

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return forward(recipe, "src", "dst", attributes);
}

/// Without the forward hint the library crashes for max pooling.
dnnl::primitive_desc_base describe_backward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const Window w = window_of(recipe);
  const auto hint = forward(recipe, "diff_src", "diff_dst", attributes);
  return dnnl::pooling_backward::primitive_desc(cpu_engine(), hint.get_algorithm(), desc_of(recipe, "diff_src"),
                                                desc_of(recipe, "diff_dst"), w.strides, w.extents, w.dilation, w.begin,
                                                w.end, hint, attributes);
}

constexpr OperandRule forward_operands[] = {{"src"}, {"dst", Access::write}};
constexpr OperandRule backward_operands[] = {{"diff_dst"}, {"diff_src", Access::write}};

}  // namespace

const PrimitiveDef pooling_forward{.name = "pooling_forward",
                                   .operands = forward_operands,
                                   .workspace = true,
                                   .check = check,
                                   .describe = describe_forward};
const PrimitiveDef pooling_backward{.name = "pooling_backward",
                                    .operands = backward_operands,
                                    .workspace = true,
                                    .check = check_backward,
                                    .describe = describe_backward};

}  // namespace weir
