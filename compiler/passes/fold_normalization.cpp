// Before: an evaluation graph; a layer with weights, then a normalization by moving statistics. After: the layer alone,
// with weights and bias into which the normalization was folded.
//   %h = conv2d(%x, kernel)   %y = batch_normalization(%h, …)      becomes
//   %k, %b = fold_normalization(kernel, …)   %y = conv2d(%x, %k, %b)
// Legal because such a normalization multiplies and shifts each channel, and a layer that takes a post_op is linear in
// kernel and bias, whose last axes are its channels. The folding reads what is stored alone: lower puts it beside the
// weight copies, which are made once for many predictions. After prune, so that readers which are not executed do not
// count; before fuse_post_ops, which then finds the activation behind the layer. Optional: results differ by rounding.
#include <algorithm>

#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

int readers(const TrainingGraph& training, ValueId value) {
  int count = 0;
  for (const Node& node : training.graph.nodes)
    if (node.live)
      for (ValueId operand : node.operands) count += operand == value ? 1 : 0;
  for (ValueId tap : training.taps) count += tap == value ? 1 : 0;
  return count;
}

ValueId operand(const Node& node, std::string_view name) {
  const auto at = static_cast<std::size_t>(operand_index(*node.op, name));
  return at < node.operands.size() ? node.operands[at] : none;
}

void set_operand(Node& node, std::string_view name, ValueId value) {
  const auto at = static_cast<std::size_t>(operand_index(*node.op, name));
  if (node.operands.size() <= at) node.operands.resize(at + 1, none);
  node.operands[at] = value;
}

/// The layer whose weights can take the normalization in; none where there is no such.
NodeId layer_before(const TrainingGraph& training, const Node& normalization) {
  const Graph& graph = training.graph;
  if (!normalization.live || normalization.training || !normalization.op->frozen_is_evaluation) return none;
  const ValueId input = normalization.operands.front();
  const NodeId id = graph.at(input).producer;
  if (id == none || readers(training, input) != 1) return none;
  const Node& layer = graph.node(id);
  const bool has_kernel = std::any_of(layer.op->operands.begin(), layer.op->operands.end(),
                                      [](const OperandDef& operand) { return operand.name == "kernel"; });
  const bool takes =
      layer.live && has_kernel && layer.op->accepts_post_op && !layer.post_op && layer.results.front() == input;
  return takes && layer.section == normalization.section ? id : none;
}

/// The folding stands where the layer stood, and the layer where the normalization stood.
void fold(Graph& graph, NodeId layer_id, NodeId normalization_id) {
  const Node normalization = graph.node(normalization_id);
  Node layer = graph.node(layer_id);
  const ValueId kernel = operand(layer, "kernel"), mean = operand(normalization, "moving_mean");
  Node folding{.op = &structural_op("fold_normalization"),
               .name = normalization.name,
               .operands = {kernel, mean, operand(normalization, "moving_variance"), operand(layer, "bias"),
                            operand(normalization, "gamma"), operand(normalization, "beta")},
               .attributes = {{"epsilon", normalization.attributes.number("epsilon")}}};
  folding.section = layer.section;
  folding.training = false;
  folding.place = normalization.place;
  const std::pair<const char*, ValueId> results[] = {{".folded_kernel", kernel}, {".folded_bias", mean}};
  for (const auto& [suffix, like] : results)
    folding.results.push_back(graph.add_value({.name = normalization.name + suffix,
                                               .type = graph.at(like).type,
                                               .axes = graph.at(like).axes,
                                               .producer = layer_id}));
  set_operand(layer, "kernel", folding.results[0]);
  set_operand(layer, "bias", folding.results[1]);
  layer.attributes.set("use_bias", true);
  layer.results = {normalization.results.front()};
  graph.node(layer_id) = std::move(folding);
  graph.node(normalization_id) = std::move(layer);
}

}  // namespace

TrainingGraph fold_normalization(TrainingGraph training) {
  for (NodeId id = 0; id < static_cast<NodeId>(training.graph.nodes.size()); ++id)
    if (const NodeId layer = layer_before(training, training.graph.node(id)); layer != none)
      fold(training.graph, layer, id);
  return training;
}

}  // namespace weir
