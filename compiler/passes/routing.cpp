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
  const OperandDef& def = node.op->operands[std::min(operand, node.op->operands.size() - 1)];
  const OperandKind kind = def.kind;
  if (kind == OperandKind::target) return def.name == "target" && node.attributes.has("target_gradient");
  return kind == OperandKind::value || kind == OperandKind::variadic || kind == OperandKind::parameter;
}

std::set<ValueId> reached(const TrainingGraph& training, const Routing& routing, std::size_t term) {
  const Graph& graph = training.graph;
  std::set<ValueId> parameters, seen;
  std::vector<ValueId> open;
  const Node& loss = graph.node(training.terms[term].node);
  for (std::size_t i = 0; i < loss.operands.size(); ++i)
    if (is_differentiable(loss, i)) open.push_back(loss.operands[i]);
  while (!open.empty()) {
    const ValueId value = open.back();
    open.pop_back();
    if (value == none || routing.at(term, value) == 0 || !seen.insert(value).second) continue;
    if (graph.at(value).kind == ValueKind::parameter) parameters.insert(value);
    if (graph.at(value).producer == none) continue;
    const Node& node = graph.node(graph.at(value).producer);
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      if (is_differentiable(node, i)) open.push_back(node.operands[i]);
  }
  return parameters;
}

namespace {

std::set<std::string> layers_of(const Graph& graph, const std::set<ValueId>& parameters) {
  std::set<std::string> layers;
  for (ValueId parameter : parameters) layers.insert(graph.at(parameter).layer);
  return layers;
}

/// Why an entry of skip or only says nothing.
std::string reason(const Graph& graph, const std::string& layer) {
  bool owns = false, trainable = false;
  for (const Value& value : graph.values)
    if (value.kind == ValueKind::parameter && value.layer == layer)
      owns = true, trainable = trainable || value.trainable;
  if (!owns) return "owns no parameters";
  return trainable ? "is not reached by this term" : "is frozen";
}

void report_entries(const TrainingGraph& training, std::size_t index, Diagnostics& diagnostics) {
  const LossTerm& term = training.terms[index];
  TrainingGraph unrouted = training;
  unrouted.terms[index].skip.clear();
  unrouted.terms[index].only.clear();
  const std::set<std::string> layers = layers_of(training.graph, reached(unrouted, route(unrouted), index));
  for (const auto& [key, entries] : {std::pair("skip", &term.skip), std::pair("only", &term.only)})
    for (const std::string& layer : *entries)
      if (!layers.contains(layer))
        diagnostics.warning("W0404", term.place,
                            "loss term \"" + term.name + "\": \"" + key + "\" names \"" + layer + "\", which " +
                                reason(training.graph, layer));
}

/// What the user named where a loss reads it in another order of its axes.
const std::string& named(const Graph& graph, ValueId value) {
  const NodeId producer = graph.at(value).producer;
  if (producer == none || graph.node(producer).section == Section::forward) return graph.at(value).name;
  return named(graph, graph.node(producer).operands.front());
}

/// A target that is to learn, and nothing behind it does.
void report_target(const TrainingGraph& training, const Routing& routing, std::size_t index, Diagnostics& diagnostics) {
  const LossTerm& term = training.terms[index];
  const Node& loss = training.graph.node(term.node);
  for (std::size_t i = 0; i < loss.operands.size(); ++i)
    if (loss.op->operands[i].name == "target" && is_differentiable(loss, i) && routing.at(index, loss.operands[i]) == 0)
      diagnostics
          .warning("W0424", term.place,
                   "loss term \"" + term.name + "\": no gradient flows into its target \"" +
                       named(training.graph, loss.operands[i]) + "\": nothing behind it hears the term")
          .help = "leave \"gradient\" out, or look at the term's routing and at frozen layers";
}

bool is_random(const Initializer& initializer) {
  return initializer.type != "zeros" && initializer.type != "ones" && initializer.type != "constant";
}

void report_frozen(const Graph& graph, Diagnostics& diagnostics) {
  std::set<std::string> layers;
  for (const Value& value : graph.values)
    if (value.kind == ValueKind::parameter && !value.trainable && is_random(value.initializer))
      layers.insert(value.layer);
  for (const Node& node : graph.nodes)
    if (node.section == Section::forward && layers.erase(node.name) > 0)
      diagnostics.warning("W0405", node.place, "layer \"" + node.name + "\" is frozen with random initial values")
          .help = "load trained ones with --weights, or let it learn";
}

}  // namespace

void report_routing(const TrainingGraph& training, Diagnostics& diagnostics) {
  const Routing routing = route(training);
  for (std::size_t term = 0; term < training.terms.size(); ++term) {
    const LossTerm& one = training.terms[term];
    if (one.role != TermRole::trained) continue;
    if (reached(training, routing, term).empty())
      diagnostics.warning("W0403", one.place, "loss term \"" + one.name + "\" trains no parameter").help =
          "weir explain says why; with \"weight\": 0 it is only watched";
    report_target(training, routing, term, diagnostics);
    if (!one.skip.empty() || !one.only.empty()) report_entries(training, term, diagnostics);
  }
  report_frozen(training.graph, diagnostics);
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
