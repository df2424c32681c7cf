// Dense layers: rows "nc" times a kernel "io", and the two gradients.
#include "runtime/dense_layer.hpp"
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

void check(const Recipe& recipe) {
  check_attribute_names(recipe, {"post_op"});
  check_dense_layer(recipe);
}

void check_forward(const Recipe& recipe) {
  check(recipe);
  check_post_op(recipe);
}

void check_backward(const Recipe& recipe) {
  check(recipe);
  if (recipe.attributes.has("post_op")) reject(recipe, "a gradient takes no \"post_op\"");
}

using Forward = dnnl::inner_product_forward::primitive_desc;

dnnl::primitive_desc_base describe_forward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return Forward(cpu_engine(), dnnl::prop_kind::forward_training, desc_of(recipe, "src"), desc_of(recipe, "weights"),
                 desc_of(recipe, "bias"), desc_of(recipe, "dst"), with_post_op(recipe, attributes));
}

Forward hint(const Recipe& recipe, std::string_view src, const Shape& kernel, std::string_view dst) {
  const dnnl::memory::desc any(logical_dims(kernel.dims, kernel.axes), dnnl::memory::data_type::f32,
                               dnnl::memory::format_tag::any);
  return Forward(cpu_engine(), dnnl::prop_kind::forward_training, desc_of(recipe, src), any, desc_of(recipe, dst));
}

dnnl::primitive_desc_base describe_backward_data(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return dnnl::inner_product_backward_data::primitive_desc(
      cpu_engine(), desc_of(recipe, "diff_src"), desc_of(recipe, "weights"), desc_of(recipe, "diff_dst"),
      hint(recipe, "diff_src", recipe.operand("weights").shape, "diff_dst"), attributes);
}

dnnl::primitive_desc_base describe_backward_weights(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return dnnl::inner_product_backward_weights::primitive_desc(
      cpu_engine(), desc_of(recipe, "src"), desc_of(recipe, "diff_weights"), desc_of(recipe, "diff_bias"),
      desc_of(recipe, "diff_dst"), hint(recipe, "src", recipe.operand("diff_weights").shape, "diff_dst"), attributes);
}

constexpr OperandRule forward_operands[] = {
    {"src"}, {"weights"}, {"bias", Access::read, DType::f32, true}, {"dst", Access::write}};
constexpr OperandRule backward_data_operands[] = {{"diff_dst"}, {"weights"}, {"diff_src", Access::write}};
constexpr OperandRule backward_weights_operands[] = {
    {"src"}, {"diff_dst"}, {"diff_weights", Access::write}, {"diff_bias", Access::write, DType::f32, true}};

}  // namespace

const PrimitiveDef inner_product_forward{.name = "inner_product_forward",
                                         .operands = forward_operands,
                                         .check = check_forward,
                                         .describe = describe_forward};
const PrimitiveDef inner_product_backward_data{.name = "inner_product_backward_data",
                                               .operands = backward_data_operands,
                                               .check = check_backward,
                                               .describe = describe_backward_data};
const PrimitiveDef inner_product_backward_weights{.name = "inner_product_backward_weights",
                                                  .operands = backward_weights_operands,
                                                  .check = check_backward,
                                                  .describe = describe_backward_weights};

}  // namespace weir
