// Elementwise functions, softmax, and copies into another layout.
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/layouts.hpp"
#include "runtime/onednn/primitive_def.hpp"

namespace weir {
namespace {

void check_eltwise(const Recipe& recipe) {
  check_attribute_names(recipe, {"algorithm"});
  word_setting(recipe, "algorithm", {"relu", "relu6", "tanh", "logistic"});
  check_equal_shapes(recipe, "src", "dst");
}

dnnl::primitive_desc_base describe_eltwise(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  const Eltwise function = eltwise_of(recipe.attributes.word("algorithm"));
  return dnnl::eltwise_forward::primitive_desc(cpu_engine(), dnnl::prop_kind::forward_training, function.algorithm,
                                               desc_of(recipe, "src"), desc_of(recipe, "dst"), function.alpha,
                                               function.beta, attributes);
}

/// The last canonical axis, counted in oneDNN's order.
int last_axis(const Shape& shape) { return static_cast<int>(logical_axes(shape.axes).find(shape.axes.back())); }

void check_softmax(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  if (recipe.operand("dst").shape.dims.empty()) reject(recipe, "softmax needs an axis");
  const bool forward = recipe.find("src");
  check_equal_shapes(recipe, "dst", forward ? "src" : "diff_dst");
  if (!forward) check_equal_shapes(recipe, "dst", "diff_src");
}

dnnl::softmax_forward::primitive_desc softmax(const Recipe& recipe, const dnnl::memory::desc& src,
                                              const dnnl::primitive_attr& attributes) {
  return {cpu_engine(),
          dnnl::prop_kind::forward_training,
          dnnl::algorithm::softmax_accurate,
          src,
          desc_of(recipe, "dst"),
          last_axis(recipe.operand("dst").shape),
          attributes};
}

dnnl::primitive_desc_base describe_softmax(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return softmax(recipe, desc_of(recipe, "src"), attributes);
}

dnnl::primitive_desc_base describe_softmax_backward(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return dnnl::softmax_backward::primitive_desc(cpu_engine(), dnnl::algorithm::softmax_accurate,
                                                desc_of(recipe, "diff_src"), desc_of(recipe, "diff_dst"),
                                                desc_of(recipe, "dst"), last_axis(recipe.operand("dst").shape),
                                                softmax(recipe, desc_of(recipe, "diff_src"), attributes), attributes);
}

void check_reorder(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  check_equal_shapes(recipe, "src", "dst", false);
}

dnnl::primitive_desc_base describe_reorder(const Recipe& recipe, const dnnl::primitive_attr& attributes) {
  return dnnl::reorder::primitive_desc(cpu_engine(), desc_of(recipe, "src"), cpu_engine(), desc_of(recipe, "dst"),
                                       attributes);
}

constexpr OperandRule forward_operands[] = {{"src"}, {"dst", Access::write}};
constexpr OperandRule backward_operands[] = {{"dst"}, {"diff_dst"}, {"diff_src", Access::write}};
constexpr InPlace over_source[] = {{"dst", "src"}};
constexpr InPlace over_gradient[] = {{"diff_src", "diff_dst"}};

}  // namespace

const PrimitiveDef eltwise_forward{.name = "eltwise_forward",
                                   .operands = forward_operands,
                                   .check = check_eltwise,
                                   .describe = describe_eltwise,
                                   .in_place = over_source};
const PrimitiveDef softmax_forward{.name = "softmax_forward",
                                   .operands = forward_operands,
                                   .check = check_softmax,
                                   .describe = describe_softmax,
                                   .in_place = over_source};
const PrimitiveDef softmax_backward{.name = "softmax_backward",
                                    .operands = backward_operands,
                                    .check = check_softmax,
                                    .describe = describe_softmax_backward,
                                    .in_place = over_gradient};
const PrimitiveDef reorder{
    .name = "reorder", .operands = forward_operands, .check = check_reorder, .describe = describe_reorder};

}  // namespace weir
