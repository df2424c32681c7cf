// Before: a gradient that goes back through a selection (max pooling) and then through a mask (relu) of what was
// selected from. After: first through the mask, of what was selected, then through the selection.
//   %d.y = pool.gradient(%d.p, …)   %d.x = relu.gradient(%d.y, %y)      becomes
//   %m = relu.gradient(%d.p, %p)    %d.x = pool.gradient(%m, …)
// Each entry of p is an entry of y, and the gradient goes to that entry: whether y is above 0 there, p says. The mask
// runs over p, a quarter of y for windows of 2×2, and y need not be kept for it. Sums over windows that took the same
// entry are of gradients that are masked alike, so no bit changes. Optional. Before fuse_post_ops and the readers: it
// looks at trained gradients alone.
#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

int readers(const TrainingGraph& training, ValueId value) {
  int count = 0;
  for (const Node& node : training.graph.nodes)
    if (node.live)
      for (ValueId operand : node.operands) count += operand == value ? 1 : 0;
  for (const auto& [parameter, gradient] : training.gradients) count += gradient == value ? 1 : 0;
  return count;
}

/// The selection's gradient behind a mask, where the two may change places; none elsewhere.
NodeId selection_behind(const TrainingGraph& training, const Node& mask) {
  const Graph& graph = training.graph;
  if (!mask.live || mask.section != Section::backward || !mask.op->masks) return none;
  const NodeId id = graph.at(mask.operands[0]).producer;
  if (id == none || !graph.node(id).op->scatters || readers(training, mask.operands[0]) != 1) return none;
  const Node& selection = graph.node(graph.node(id).forward);
  return selection.operands[0] == mask.operands[1] ? id : none;
}

/// The nodes change places in the list too: operands are produced before they are read.
void swap(Graph& graph, NodeId scatter_id, NodeId mask_id) {
  Node scatter = graph.node(scatter_id), mask = graph.node(mask_id);
  const ValueId gradient = scatter.operands[0], selected = graph.node(scatter.forward).results[0];
  const ValueId masked = graph.add_value({.name = graph.at(gradient).name + ":masked",
                                          .type = graph.at(gradient).type,
                                          .axes = graph.at(gradient).axes,
                                          .producer = scatter_id});
  scatter.operands[0] = masked;
  scatter.results = mask.results;
  mask.operands = {gradient, selected};
  mask.results = {masked};
  graph.at(scatter.results[0]).producer = mask_id;
  graph.node(scatter_id) = std::move(mask);
  graph.node(mask_id) = std::move(scatter);
}

}  // namespace

TrainingGraph mask_selected(TrainingGraph training) {
  for (NodeId id = 0; id < static_cast<NodeId>(training.graph.nodes.size()); ++id)
    if (const NodeId selection = selection_behind(training, training.graph.node(id)); selection != none)
      swap(training.graph, selection, id);
  return training;
}

}  // namespace weir
