// Normalization over everything but channels: with the batch's statistics (training), with given ones (inference), and
// the gradient of the first.
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

using Flags = dnnl::normalization_flags;

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"epsilon", "given_statistics"});
  number_setting(recipe, "epsilon", 0, 1e30);
  const Shape& src = recipe.operand("src").shape;
  const bool channels_last = src.axes.size() > 1 && src.axes[0] == 'n' && src.axes.back() == 'c';
  if (!channels_last) reject(recipe, "src must have axes \"n…c\"");
  for (const RecipeOperand& operand : recipe.operands) {
    if (operand.role == "scratch") continue;
    const bool image =
        operand.role == "src" || operand.role == "dst" || operand.role == "diff_src" || operand.role == "diff_dst";
    if (image) check_equal_shapes(recipe, "src", operand.role, false);
    if (!image && (operand.shape.axes != "o" || operand.shape.dims[0] != src.dims.back()))
      reject(recipe, "operand \"" + operand.role + "\" must have one value for each channel");
  }
}

bool statistics_are_given(const Recipe& recipe) {
  return recipe.attributes.has("given_statistics") && recipe.attributes.flag("given_statistics");
}

void check_backward(const Recipe& recipe) {
  check(recipe);
  if (recipe.find("diff_scale") && !recipe.find("scale")) reject(recipe, "diff_scale needs scale");
}

/// What the recipe's operands ask for.
Flags flags_of(const Recipe& recipe) {
  Flags flags = Flags::none;
  if (recipe.find("scale")) flags |= Flags::use_scale;
  if (recipe.find("shift") || recipe.find("diff_shift")) flags |= Flags::use_shift;
  return flags;
}

float epsilon_of(const Recipe& recipe) { return static_cast<float>(recipe.attributes.number("epsilon")); }

using Forward = dnnl::batch_normalization_forward::primitive_desc;

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return Forward(cpu_engine(), dnnl::prop_kind::forward_training, desc_of(recipe, "src"), desc_of(recipe, "dst"),
                 epsilon_of(recipe), flags_of(recipe), attributes);
}

dnnl::primitive_desc_base describe_inference(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return Forward(cpu_engine(), dnnl::prop_kind::forward_inference, desc_of(recipe, "src"), desc_of(recipe, "dst"),
                 epsilon_of(recipe), flags_of(recipe) | Flags::use_global_stats, attributes);
}

dnnl::primitive_desc_base describe_backward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const auto src = desc_of(recipe, "src");
  // With a scale the library writes diff_scale whatever is asked for; where the recipe has none, the primitive owns it.
  const bool by_parameters = recipe.find("scale") || recipe.find("diff_shift");
  Flags flags = flags_of(recipe);
  if (statistics_are_given(recipe)) flags |= Flags::use_global_stats;
  const Forward hint(cpu_engine(), dnnl::prop_kind::forward_training, src, src, epsilon_of(recipe), flags);
  return dnnl::batch_normalization_backward::primitive_desc(
      cpu_engine(), by_parameters ? dnnl::prop_kind::backward : dnnl::prop_kind::backward_data,
      desc_of(recipe, "diff_src"), desc_of(recipe, "diff_dst"), src, epsilon_of(recipe), flags, hint, attributes);
}

constexpr Access write = Access::write, read = Access::read;
constexpr DType f32 = DType::f32;
constexpr OperandRule forward_operands[] = {
    {"src"},         {"scale", read, f32, true}, {"shift", read, f32, true}, {"dst", write},
    {"mean", write}, {"variance", write}};
constexpr OperandRule inference_operands[] = {
    {"src"}, {"mean"}, {"variance"}, {"scale", read, f32, true}, {"shift", read, f32, true}, {"dst", write}};
constexpr OperandRule backward_operands[] = {{"src"},
                                             {"diff_dst"},
                                             {"mean"},
                                             {"variance"},
                                             {"scale", read, f32, true},
                                             {"diff_src", write},
                                             {"diff_scale", write, f32, true},
                                             {"diff_shift", write, f32, true}};
constexpr InPlace over_source[] = {{"dst", "src"}};
constexpr InPlace over_gradient[] = {{"diff_src", "diff_dst"}};
constexpr std::string_view owned[] = {"diff_scale"};

}  // namespace

const PrimitiveDef batch_normalization_forward{
    .name = "batch_normalization_forward", .operands = forward_operands, .check = check, .describe = describe_forward};
const PrimitiveDef batch_normalization_inference{.name = "batch_normalization_inference",
                                                 .operands = inference_operands,
                                                 .check = check,
                                                 .describe = describe_inference,
                                                 .in_place = over_source};
const PrimitiveDef batch_normalization_backward{.name = "batch_normalization_backward",
                                                .operands = backward_operands,
                                                .check = check_backward,
                                                .describe = describe_backward,
                                                .in_place = over_gradient,
                                                .owned = owned};

}  // namespace weir
