#include "compiler/passes/routing.hpp"

#include <map>

#include "compiler/ir/op.hpp"

namespace weir {
namespace {

/// Gives equal flows equal numbers, from 1 on.
class Interning {
 public:
  int number(const Routing::Flow& flow, ValueId parameter) {
    const auto key = std::pair(flow.node == none ? -1 - parameter : flow.node, flow.operands);
    const auto [found, added] = numbers_.try_emplace(key, static_cast<int>(flows.size()));
    if (added) flows.push_back(flow);
    return found->second;
  }

  std::vector<Routing::Flow> flows = {{}};

 private:
  std::map<std::pair<int, std::vector<int>>, int> numbers_;
};

bool takes_part(const LossTerm& term, const Value& parameter) {
  if (parameter.kind != ValueKind::parameter || !parameter.trainable || term.skip.contains(parameter.layer))
    return false;
  return term.only.empty() || term.only.contains(parameter.layer);
}

bool is_cut(const LossTerm& term, const Graph& graph, ValueId value) {
  return graph.at(value).stop_gradient || term.stop_at.contains(value);
}

void route_node(const TrainingGraph& training, const LossTerm& term, NodeId id, std::vector<int>& signature,
                Interning& interning) {
  const Node& node = training.graph.node(id);
  Routing::Flow flow{id, std::vector<int>(node.operands.size(), 0)};
  bool any = false;
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    if (!is_differentiable(node, i)) continue;
    flow.operands[i] = signature[static_cast<std::size_t>(node.operands[i])];
    any = any || flow.operands[i] != 0;
  }
  if (!any) return;
  const int number = interning.number(flow, none);
  for (ValueId result : node.results)
    if (result != none && !is_cut(term, training.graph, result)) signature[static_cast<std::size_t>(result)] = number;
}

}  // namespace

bool is_differentiable(const Node& node, std::size_t operand) {
  if (node.operands[operand] == none) return false;
  const OperandKind kind = node.op->operands[std::min(operand, node.op->operands.size() - 1)].kind;
  return kind == OperandKind::value || kind == OperandKind::variadic || kind == OperandKind::parameter;
}

int Routing::at(std::size_t term, ValueId value) const {
  const auto index = static_cast<std::size_t>(value);
  return signature[term].size() > index ? signature[term][index] : 0;
}

Routing route(const TrainingGraph& training) {
  Routing routing;
  Interning interning;
  for (const LossTerm& term : training.terms) {
    std::vector<int>& signature = routing.signature.emplace_back();
    if (term.role != TermRole::trained) continue;
    signature.assign(training.graph.values.size(), 0);
    for (std::size_t id = 0; id < signature.size(); ++id)
      if (takes_part(term, training.graph.values[id])) signature[id] = interning.number({}, static_cast<ValueId>(id));
    for (NodeId id = 0; id < static_cast<NodeId>(training.graph.nodes.size()); ++id)
      route_node(training, term, id, signature, interning);
  }
  routing.flows = std::move(interning.flows);
  return routing;
}

}  // namespace weir
