// Before: every node is live. After: only those that a loss or metric value, a gradient, an update or a tap needs. An
// excluded tail is switched off here, and with it its forward steps, its gradients and its state. After updates, which
// are what training asks for; before fusion, which looks at the readers that remain.
#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

bool is_root(const TrainingGraph& training, NodeId id) {
  const Node& node = training.graph.node(id);
  if (node.section == Section::update) return true;
  for (const LossTerm& term : training.terms)
    if (term.node == id) return true;
  for (const MetricNode& metric : training.metrics)
    if (metric.node == id) return true;
  return false;
}

}  // namespace

TrainingGraph prune(TrainingGraph training) {
  Graph& graph = training.graph;
  std::vector<bool> needed(graph.nodes.size(), false);
  const auto need = [&](ValueId value) {
    if (value != none && graph.at(value).producer != none)
      needed[static_cast<std::size_t>(graph.at(value).producer)] = true;
  };
  for (ValueId tap : training.taps) need(tap);
  for (const auto& [parameter, gradient] : training.gradients) need(gradient);
  for (NodeId id = static_cast<NodeId>(graph.nodes.size()) - 1; id >= 0; --id) {
    Node& node = graph.node(id);
    node.live = node.live && (needed[static_cast<std::size_t>(id)] || is_root(training, id));
    if (node.live)
      for (ValueId operand : node.operands) need(operand);
  }
  return training;
}

}  // namespace weir
