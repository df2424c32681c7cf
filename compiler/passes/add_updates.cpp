// Before: gradients of the reached parameters. After: one optimizer node for each of them and its constraint, and one
// move for each statistic of a layer that a trained term needs. A parameter that nothing reaches gets no node, no state
// and no decay. After differentiate, because only now it is known who has a gradient.
#include <set>

#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

ValueId add_state(Graph& graph, ValueId parameter, std::string_view slot) {
  Value state{.name = graph.at(parameter).name + "." + std::string(slot), .kind = ValueKind::state};
  state.type = graph.at(parameter).type;
  state.axes = graph.at(parameter).axes;
  state.of = parameter;
  return graph.add_value(std::move(state));
}

void add_optimizer(const Spec& spec, Graph& graph, ValueId parameter, ValueId gradient) {
  const OpDef& op = *spec.train->optimizer;
  Node node{.op = &op, .name = graph.at(parameter).name, .attributes = spec.train->optimizer_attributes};
  node.section = Section::update;
  node.place = spec.train->optimizer_place;
  const bool slots = !op.uses_slots || op.uses_slots(node.attributes);
  for (const OperandDef& operand : op.operands) switch (operand.kind) {
      case OperandKind::parameter:
        node.operands.push_back(parameter);
        break;
      case OperandKind::state:
        node.operands.push_back(slots ? add_state(graph, parameter, operand.name) : none);
        break;
      case OperandKind::scalar:
        node.operands.push_back(graph.scalar(operand.name));
        break;
      default:
        node.operands.push_back(gradient);
        break;
    }
  graph.add_node(std::move(node));
}

/// The owner's constraint of this parameter, behind the update.
void add_constraint(const Spec& spec, Graph& graph, ValueId parameter) {
  const std::string layer = graph.at(parameter).layer, name = graph.at(parameter).name;
  for (const LayerSpec& owner : spec.layers) {
    if (owner.name != layer) continue;
    for (const ParameterRule& rule : owner.constraints) {
      if (layer + "." + rule.of != name) continue;
      Node node{.op = rule.op, .name = rule.name, .operands = {parameter}, .attributes = rule.attributes};
      node.section = Section::update;
      node.place = rule.place;
      graph.add_node(std::move(node));
    }
  }
}

/// Nodes that some trained term's value depends on.
std::set<NodeId> trained_nodes(const TrainingGraph& training) {
  std::set<NodeId> nodes;
  std::vector<ValueId> open;
  for (const LossTerm& term : training.terms)
    if (term.role == TermRole::trained && term.value != none) open.push_back(term.value);
  while (!open.empty()) {
    const NodeId producer = training.graph.at(open.back()).producer;
    open.pop_back();
    if (producer == none || !nodes.insert(producer).second) continue;
    for (ValueId operand : training.graph.node(producer).operands)
      if (operand != none) open.push_back(operand);
  }
  return nodes;
}

void add_move(Graph& graph, ValueId statistic, ValueId followed) {
  Node node{.op = &structural_op("moving_average"),
            .name = graph.at(statistic).name,
            .operands = {statistic, followed},
            .attributes = {{"momentum", graph.at(statistic).momentum}}};
  if (graph.at(statistic).unbiased_over > 0) node.attributes.set("unbiased_over", graph.at(statistic).unbiased_over);
  node.section = Section::update;
  graph.add_node(std::move(node));
}

void add_statistic_moves(TrainingGraph& training) {
  Graph& graph = training.graph;
  const std::set<NodeId> needed = trained_nodes(training);
  for (ValueId id : graph.parameters()) {
    const std::vector<ValueId> follows = graph.at(id).follows;
    for (ValueId followed : follows)
      if (needed.contains(graph.at(followed).producer)) add_move(graph, id, followed);
  }
}

}  // namespace

TrainingGraph add_updates(const Spec& spec, TrainingGraph training) {
  for (ValueId parameter : training.graph.parameters())
    if (const auto gradient = training.gradients.find(parameter); gradient != training.gradients.end()) {
      add_optimizer(spec, training.graph, parameter, gradient->second);
      add_constraint(spec, training.graph, parameter);
    }
  add_statistic_moves(training);
  return training;
}

}  // namespace weir
