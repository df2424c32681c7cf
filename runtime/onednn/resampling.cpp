// Images to a multiple of their height and width: each pixel repeated (nearest), or a straight line between pixel
// centres (linear); and the gradients.
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

bool is_forward(const Recipe& recipe) { return recipe.find("src") != nullptr; }

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"algorithm"});
  word_setting(recipe, "algorithm", {"nearest", "linear"});
  const Shape& small = recipe.operand(is_forward(recipe) ? "src" : "diff_src").shape;
  const Shape& large = recipe.operand(is_forward(recipe) ? "dst" : "diff_dst").shape;
  if (spatial_axes(recipe, small) != "hw" || small.axes != large.axes) reject(recipe, "it needs images");
  if (extent(small, 'n') != extent(large, 'n') || extent(small, 'c') != extent(large, 'c'))
    reject(recipe, "resampling keeps samples and channels");
  for (char axis : {'h', 'w'})
    if (extent(large, axis) % extent(small, axis) != 0)
      reject(recipe, "the large image is no multiple of the small one");
}

dnnl::algorithm algorithm_of(const Recipe& recipe) {
  return recipe.attributes.word("algorithm") == "nearest" ? dnnl::algorithm::resampling_nearest
                                                          : dnnl::algorithm::resampling_linear;
}

dnnl::resampling_forward::primitive_desc forward(const Recipe& recipe, std::string_view src, std::string_view dst,
                                                 const dnnl::primitive_attr& attributes) {
  return {cpu_engine(),         dnnl::prop_kind::forward_training,
          algorithm_of(recipe), desc_of(recipe, src),
          desc_of(recipe, dst), attributes};
}

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return forward(recipe, "src", "dst", attributes);
}

dnnl::primitive_desc_base describe_backward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return dnnl::resampling_backward::primitive_desc(
      cpu_engine(), algorithm_of(recipe), desc_of(recipe, "diff_src"), desc_of(recipe, "diff_dst"),
      forward(recipe, "diff_src", "diff_dst", dnnl::primitive_attr()), attributes);
}

constexpr OperandRule forward_operands[] = {{"src"}, {"dst", Access::write}};
constexpr OperandRule backward_operands[] = {{"diff_dst"}, {"diff_src", Access::write}};

}  // namespace

const PrimitiveDef resampling_forward{
    .name = "resampling_forward", .operands = forward_operands, .check = check, .describe = describe_forward};
const PrimitiveDef resampling_backward{
    .name = "resampling_backward", .operands = backward_operands, .check = check, .describe = describe_backward};

}  // namespace weir
