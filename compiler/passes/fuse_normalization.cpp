// Before: a normalization by the batch's statistics; its result goes into a sum, an activation or both, one after the
// other, and nowhere else. After: one node, which writes the last of them; and where the activation's gradient masks,
// the gradient of the normalization masks what it reads.
//   %h = batch_normalization(%x, …)   %z = add(%h, %s)   %y = relu(%z)      becomes
//   %y = batch_normalization.fused(%x, …, %s) then relu
//   %d.z = relu.gradient(%d.y, %y)    %d.x, … = batch_normalization.gradient(%x, %d.z, …)      becomes
//   %d.x, …, %d.z = batch_normalization.fused_gradient(%x, %d.y, …, %y)
// Each of them was a pass over memory. %d.z stays where others read it: what was added gets it. Where nothing was added
// the mask is computed again from x, which is read anyway, so that the gradient need not read y.
//
// The node stands where the last of the chain stood, behind all that it reads; the gradient where the mask stood,
// before all that read it. Values in between stay with their nodes, which are switched off, for readers that come
// later. The kernel computes the same sums either way, so no bit differs. Optional. After mask_selected, which moves
// masks.
#include <algorithm>

#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

std::vector<NodeId> readers(const TrainingGraph& training, ValueId value) {
  std::vector<NodeId> ids;
  for (NodeId id = 0; id < static_cast<NodeId>(training.graph.nodes.size()); ++id) {
    const Node& node = training.graph.node(id);
    if (!node.live) continue;
    for (ValueId operand : node.operands)
      if (operand == value) ids.push_back(id);
  }
  return ids;
}

bool is_asked_for(const TrainingGraph& training, ValueId value) {
  const auto is_value = [&](const auto& gradient) { return gradient.second == value; };
  return std::any_of(training.gradients.begin(), training.gradients.end(), is_value) ||
         std::find(training.taps.begin(), training.taps.end(), value) != training.taps.end();
}

/// The one forward node that reads a value which nobody else needs; none where there is no such.
NodeId only_reader(const TrainingGraph& training, ValueId value) {
  const std::vector<NodeId> ids = readers(training, value);
  if (ids.size() != 1 || is_asked_for(training, value)) return none;
  return training.graph.node(ids[0]).section == Section::forward ? ids[0] : none;
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

/// An activation that lets its input through or not.
bool masks(const OpDef& op) { return !op.post_op.empty() && !op.internals.empty() && op.internals.front()->masks; }

/// What stands behind a normalization.
struct Chain {
  NodeId sum = none, activation = none;
  ValueId addend = none;

  NodeId last() const { return activation != none ? activation : sum; }
};

Chain chain_behind(const TrainingGraph& training, const Node& normalization) {
  const Graph& graph = training.graph;
  Chain chain;
  ValueId value = normalization.results.front();
  NodeId next = only_reader(training, value);
  if (next != none && graph.node(next).op->sums && graph.node(next).operands.size() == 2) {
    const std::vector<ValueId>& operands = graph.node(next).operands;
    chain.sum = next;
    chain.addend = operands[0] == value ? operands[1] : operands[0];
    value = graph.node(next).results.front();
    next = only_reader(training, value);
  }
  if (next != none && masks(*graph.node(next).op)) chain.activation = next;
  return chain;
}

void switch_off(Graph& graph, NodeId id) {
  if (id != none) graph.node(id).live = false;
}

/// From now on the node with this id is the producer of its results.
void put(Graph& graph, NodeId id, Node node) {
  for (ValueId result : node.results)
    if (result != none) graph.at(result).producer = id;
  graph.node(id) = std::move(node);
}

void fuse_forward(Graph& graph, NodeId id, const Chain& chain) {
  const NodeId last = chain.last();
  Node fused = graph.node(id);
  fused.op = fused.op->fused;
  set_operand(fused, "addend", chain.addend);
  fused.post_op = chain.activation == none ? nullptr : graph.node(chain.activation).op;
  fused.results.front() = graph.node(last).results.front();
  switch_off(graph, id);
  switch_off(graph, chain.sum);
  put(graph, last, std::move(fused));
  for (Node& node : graph.nodes)
    if (node.forward == id) node.forward = last;
}

/// The mask of the activation that a gradient of the normalization reads; none where something stands between them.
NodeId mask_before(const TrainingGraph& training, const Node& gradient, ValueId output) {
  const Graph& graph = training.graph;
  const NodeId id = graph.at(operand(gradient, "d_output")).producer;
  if (id == none || !graph.node(id).live || !graph.node(id).op->masks) return none;
  return graph.node(id).operands[1] == output ? id : none;
}

void fuse_backward(TrainingGraph& training, NodeId id, NodeId forward_id) {
  Graph& graph = training.graph;
  const Node forward = graph.node(forward_id);
  const NodeId mask = mask_before(training, graph.node(id), forward.results.front());
  if (mask == none) return;
  const bool adds = operand(forward, "addend") != none;
  const ValueId masked = graph.node(mask).results.front();
  const bool is_read = readers(training, masked).size() > 1 || is_asked_for(training, masked);
  if (is_read && !adds) return;
  Node fused = graph.node(id);
  fused.op = fused.op->fused;
  fused.operands[0] = operand(forward, "input");
  set_operand(fused, "d_output", graph.node(mask).operands[0]);
  set_operand(fused, "beta", operand(forward, "beta"));
  if (adds) set_operand(fused, "output", forward.results.front());
  fused.attributes.set("activation", std::string(forward.post_op->post_op));
  if (is_read) {
    const auto at = static_cast<std::size_t>(result_index(*fused.op, "d_addend"));
    fused.results.resize(at + 1, none);
    fused.results[at] = masked;
  }
  switch_off(graph, id);
  put(graph, mask, std::move(fused));
}

}  // namespace

TrainingGraph fuse_normalization(TrainingGraph training) {
  Graph& graph = training.graph;
  const auto count = static_cast<NodeId>(graph.nodes.size());
  for (NodeId id = 0; id < count; ++id) {
    const Node& node = graph.node(id);
    if (!node.live || !node.training || node.section != Section::forward || !node.op->fused || node.post_op) continue;
    const Chain chain = chain_behind(training, node);
    if (chain.last() == none) continue;
    fuse_forward(graph, id, chain);
    if (chain.activation == none) continue;
    for (NodeId gradient = 0; gradient < count; ++gradient)
      if (graph.node(gradient).live && graph.node(gradient).forward == chain.last() && graph.node(gradient).op->fused)
        fuse_backward(training, gradient, chain.last());
  }
  return training;
}

}  // namespace weir
