// Normalization of each row over its channels, and its gradient.
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

using Flags = dnnl::normalization_flags;
using Forward = dnnl::layer_normalization_forward::primitive_desc;

bool is_of_channels(std::string_view role) {
  return role == "scale" || role == "shift" || role == "diff_scale" || role == "diff_shift";
}

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"epsilon"});
  number_setting(recipe, "epsilon", 0, 1e30);
  const Shape& src = recipe.operand("src").shape;
  if (src.axes != "nc") reject(recipe, "src must have axes \"nc\"");
  for (const RecipeOperand& operand : recipe.operands) {
    const Shape& shape = operand.shape;
    if (operand.role == "scratch") continue;
    if (operand.role == "mean" || operand.role == "variance") {
      if (shape.axes != "n" || shape.dims[0] != src.dims[0])
        reject(recipe, "operand \"" + operand.role + "\" must have one value for each row");
    } else if (is_of_channels(operand.role)) {
      if (shape.axes != "o" || shape.dims[0] != src.dims[1])
        reject(recipe, "operand \"" + operand.role + "\" must have one value for each channel");
    } else {
      check_equal_shapes(recipe, "src", operand.role, false);
    }
  }
}

void check_backward(const Recipe& recipe) {
  check(recipe);
  if (recipe.find("diff_scale") && !recipe.find("scale")) reject(recipe, "diff_scale needs scale");
}

Flags flags_of(const Recipe& recipe) {
  Flags flags = Flags::none;
  if (recipe.find("scale")) flags |= Flags::use_scale;
  if (recipe.find("shift") || recipe.find("diff_shift")) flags |= Flags::use_shift;
  return flags;
}

Forward forward(const Recipe& recipe, std::string_view dst, const dnnl::primitive_attr& attributes) {
  return {cpu_engine(),
          dnnl::prop_kind::forward_training,
          desc_of(recipe, "src"),
          desc_of(recipe, dst),
          desc_of(recipe, "mean"),
          static_cast<float>(recipe.attributes.number("epsilon")),
          flags_of(recipe),
          attributes};
}

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return forward(recipe, "dst", attributes);
}

dnnl::primitive_desc_base describe_backward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  // With a scale the library writes diff_scale whatever is asked for; where the recipe has none, the primitive owns it.
  const bool by_parameters = recipe.find("scale") || recipe.find("diff_shift");
  return dnnl::layer_normalization_backward::primitive_desc(
      cpu_engine(), by_parameters ? dnnl::prop_kind::backward : dnnl::prop_kind::backward_data,
      desc_of(recipe, "diff_src"), desc_of(recipe, "diff_dst"), desc_of(recipe, "src"), desc_of(recipe, "mean"),
      static_cast<float>(recipe.attributes.number("epsilon")), flags_of(recipe),
      forward(recipe, "diff_dst", dnnl::primitive_attr()), attributes);
}

constexpr Access write = Access::write, read = Access::read;
constexpr DType f32 = DType::f32;
constexpr OperandRule forward_operands[] = {
    {"src"},         {"scale", read, f32, true}, {"shift", read, f32, true}, {"dst", write},
    {"mean", write}, {"variance", write}};
constexpr OperandRule backward_operands[] = {{"src"},
                                             {"diff_dst"},
                                             {"mean"},
                                             {"variance"},
                                             {"scale", read, f32, true},
                                             {"diff_src", write},
                                             {"diff_scale", write, f32, true},
                                             {"diff_shift", write, f32, true}};
/// It never reads the shift, but does not run without.
constexpr std::string_view owned[] = {"diff_scale", "shift"};

}  // namespace

const PrimitiveDef layer_normalization_forward{
    .name = "layer_normalization_forward", .operands = forward_operands, .check = check, .describe = describe_forward};
const PrimitiveDef layer_normalization_backward{.name = "layer_normalization_backward",
                                                .operands = backward_operands,
                                                .check = check_backward,
                                                .describe = describe_backward,
                                                .owned = owned};

}  // namespace weir
