// Convolution and its two gradients. Kernel axes are "hwio"; grouped ones "hwigo" with i and o counted within a group.
#include <algorithm>
#include <string_view>

#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

constexpr auto direct = dnnl::algorithm::convolution_direct;

/// The operands by what they are, whichever direction is computed.
struct Operands {
  const Shape &large, &kernel, &small;
  const RecipeOperand* bias;  ///< or its gradient; null where there is none
};

/// A recipe has one of them: its rules were checked.
const Shape& either(const Recipe& recipe, std::string_view one, std::string_view other) {
  return recipe.find(one) ? recipe.operand(one).shape : recipe.operand(other).shape;
}

Operands operands_of(const Recipe& recipe) {
  const RecipeOperand* const bias = recipe.find("bias");
  return {either(recipe, "src", "diff_src"), either(recipe, "weights", "diff_weights"),
          either(recipe, "dst", "diff_dst"), bias ? bias : recipe.find("diff_bias")};
}

Window window_of(const Recipe& recipe, const Operands& o) {
  const std::string spatial = spatial_axes(recipe, o.large);
  std::vector<std::int64_t> extents;
  for (char letter : spatial) extents.push_back(extent(o.kernel, letter));
  return read_window(recipe, spatial, extents, true);
}

void check_channels(const Recipe& recipe, const Operands& o, std::int64_t groups) {
  const bool fits =
      extent(o.kernel, 'i') * groups == extent(o.large, 'c') && extent(o.kernel, 'o') * groups == extent(o.small, 'c');
  if (!fits) reject(recipe, "the kernel's channels do not fit those of the images");
  if (o.bias && (o.bias->shape.axes != "o" || o.bias->shape.dims[0] != extent(o.small, 'c')))
    reject(recipe, "the bias must have one value for each output channel");
}

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups", "post_op"});
  const Operands o = operands_of(recipe);
  const std::string spatial = spatial_axes(recipe, o.large);
  const std::int64_t groups = integer_setting(recipe, "groups", 1, largest_extent);
  const bool grouped = o.kernel.axes == spatial + "igo";
  if (!grouped && !(groups == 1 && o.kernel.axes == spatial + "io"))
    reject(recipe, "the kernel's axes must be \"" + spatial + "io\", or \"" + spatial + "igo\" for groups");
  if (grouped && extent(o.kernel, 'g') != groups) reject(recipe, "the kernel has another number of groups");
  check_channels(recipe, o, groups);
  check_window(recipe, window_of(recipe, o), spatial, o.large, o.small);
}

void check_forward(const Recipe& recipe) {
  check(recipe);
  check_post_op(recipe);
}

void check_backward(const Recipe& recipe) {
  check(recipe);
  if (recipe.attributes.has("post_op")) reject(recipe, "a gradient takes no \"post_op\"");
}

using Forward = dnnl::convolution_forward::primitive_desc;

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const Window w = window_of(recipe, operands_of(recipe));
  return Forward(cpu_engine(), dnnl::prop_kind::forward_training, direct, desc_of(recipe, "src"),
                 desc_of(recipe, "weights"), desc_of(recipe, "bias"), desc_of(recipe, "dst"), w.strides, w.dilation,
                 w.begin, w.end, with_post_op(recipe, attributes));
}

/// oneDNN wants a forward descriptor beside each backward one: same geometry, kernel layout of its own choice.
Forward hint(const Recipe& recipe, const Operands& o, const Window& w, std::string_view src, std::string_view dst) {
  const dnnl::memory::desc kernel(logical_dims(o.kernel.dims, o.kernel.axes), dnnl::memory::data_type::f32,
                                  dnnl::memory::format_tag::any);
  return Forward(cpu_engine(), dnnl::prop_kind::forward_training, direct, desc_of(recipe, src), kernel,
                 desc_of(recipe, dst), w.strides, w.dilation, w.begin, w.end);
}

dnnl::primitive_desc_base describe_backward_data(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const Operands o = operands_of(recipe);
  const Window w = window_of(recipe, o);
  return dnnl::convolution_backward_data::primitive_desc(
      cpu_engine(), direct, desc_of(recipe, "diff_src"), desc_of(recipe, "weights"), desc_of(recipe, "diff_dst"),
      w.strides, w.dilation, w.begin, w.end, hint(recipe, o, w, "diff_src", "diff_dst"), attributes);
}

/// For windows of one cell that move by several, oneDNN 3.2's AVX2 kernel gathers the cells into scratch eight channels
/// at a time, but asks for scratch by the channels there are: where those are fewer, it writes behind the end.
void refuse_outgrown_scratch(const dnnl::primitive_desc_base& description, const Recipe& recipe, const Window& w) {
  const bool moves = std::any_of(w.strides.begin(), w.strides.end(), [](auto stride) { return stride > 1; });
  if (moves && extent(recipe.operand("src").shape, 'c') < 8 &&
      std::string_view(description.impl_info_str()) == "jit_1x1:avx2")
    reject(recipe, "the library's kernel needs more scratch than it asks for");
}

dnnl::primitive_desc_base describe_backward_weights(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const Operands o = operands_of(recipe);
  const Window w = window_of(recipe, o);
  dnnl::convolution_backward_weights::primitive_desc description(
      cpu_engine(), direct, desc_of(recipe, "src"), desc_of(recipe, "diff_weights"), desc_of(recipe, "diff_bias"),
      desc_of(recipe, "diff_dst"), w.strides, w.dilation, w.begin, w.end, hint(recipe, o, w, "src", "diff_dst"),
      attributes);
  refuse_outgrown_scratch(description, recipe, w);
  return description;
}

constexpr OperandRule forward_operands[] = {
    {"src"}, {"weights"}, {"bias", Access::read, DType::f32, true}, {"dst", Access::write}};
constexpr OperandRule backward_data_operands[] = {{"diff_dst"}, {"weights"}, {"diff_src", Access::write}};
constexpr OperandRule backward_weights_operands[] = {
    {"src"}, {"diff_dst"}, {"diff_weights", Access::write}, {"diff_bias", Access::write, DType::f32, true}};

}  // namespace

const PrimitiveDef convolution_forward{
    .name = "convolution_forward", .operands = forward_operands, .check = check_forward, .describe = describe_forward};
const PrimitiveDef convolution_backward_data{.name = "convolution_backward_data",
                                             .operands = backward_data_operands,
                                             .check = check_backward,
                                             .describe = describe_backward_data};
const PrimitiveDef convolution_backward_weights{.name = "convolution_backward_weights",
                                                .operands = backward_weights_operands,
                                                .check = check_backward,
                                                .describe = describe_backward_weights};

}  // namespace weir
