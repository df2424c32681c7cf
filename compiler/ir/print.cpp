// Stable, diffable text of a graph: the form of the golden dumps.
#include <map>

#include "compiler/ir/op.hpp"

namespace weir {
namespace {

std::string reference(const Graph& graph, ValueId id) { return id == none ? "-" : "%" + graph.at(id).name; }

std::string list(const Graph& graph, const std::vector<ValueId>& ids) {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) text += (i ? ", " : "") + reference(graph, ids[i]);
  return text;
}

std::string types(const Graph& graph, const std::vector<ValueId>& ids) {
  std::string text;
  for (ValueId id : ids)
    if (id != none) text += (text.empty() ? "" : ", ") + to_string(graph.at(id).type);
  return text;
}

bool is_default(const Node& node, const std::string& key, const AttributeValue& value) {
  const AttributeDef* def = find_attribute(*node.op, key);
  return def && def->standard && *def->standard == value;
}

std::string line(const Graph& graph, const Node& node) {
  std::string text = "  ";
  if (!node.results.empty()) text += list(graph, node.results) + " = ";
  text += std::string(node.op->name) + "(" + list(graph, node.operands) + ")";
  for (const auto& [key, value] : node.attributes)
    if (!key.ends_with("_initializer") && node.forward == none && !is_default(node, key, value))
      text += " " + key + "=" + to_string(value);
  if (node.post_op) text += " then " + std::string(node.post_op->name);
  if (!node.results.empty()) text += " : " + types(graph, node.results);
  return text + "\n";
}

std::string sections(const Graph& graph) {
  static const std::map<Section, const char*> titles = {{Section::forward, "forward"},
                                                        {Section::loss, "loss"},
                                                        {Section::watch, "watch"},
                                                        {Section::backward, "backward"},
                                                        {Section::update, "update"}};
  std::string text;
  for (const auto& [section, title] : titles) {
    std::string body;
    for (const Node& node : graph.nodes)
      if (node.live && node.section == section) body += line(graph, node);
    if (!body.empty()) text += std::string(title) + "\n" + body;
  }
  return text;
}

std::string header(const Graph& graph) {
  static const std::map<ValueKind, const char*> words = {{ValueKind::input, "input"},
                                                         {ValueKind::parameter, "parameter"},
                                                         {ValueKind::statistic, "statistic"},
                                                         {ValueKind::state, "state"},
                                                         {ValueKind::scalar, "scalar"}};
  std::string text = "graph " + graph.name + "\n";
  for (const auto& [kind, word] : words)
    for (const Value& value : graph.values)
      if (value.kind == kind)
        text += std::string("  ") + word + " %" + value.name + " : " + to_string(value.type) +
                (value.schedule ? " " + to_string(*value.schedule) : "") + "\n";
  return text;
}

std::string describe(const Graph& graph, const LossTerm& term) {
  std::string text = "  " + term.name + " at " + graph.at(term.at).name;
  if (term.role == TermRole::excluded) return text + ": left out by exclude \"" + term.excluded_by + "\"\n";
  if (term.prediction != term.at) text += " (reads " + graph.at(term.prediction).name + ")";
  if (term.role == TermRole::watched) return text + ": watched, weight 0\n";
  const std::optional<Schedule> schedule = term.weight == none ? std::nullopt : graph.at(term.settable()).schedule;
  return text + ": weight " + (schedule ? to_string(*schedule) : shortest(term.given_weight)) + "\n";
}

}  // namespace

std::string print(const Graph& graph) { return header(graph) + sections(graph); }

std::string print(const TrainingGraph& training) {
  const Graph& graph = training.graph;
  std::string text = header(graph);
  if (!training.terms.empty()) text += "terms\n";
  for (const LossTerm& term : training.terms) text += describe(graph, term);
  if (training.normalized) text += "  weights divided by their sum\n";
  if (training.uncertain) text += "  weights learned\n";
  text += sections(graph);
  if (!training.gradients.empty()) text += "gradients\n";
  for (const auto& [parameter, gradient] : training.gradients)
    text += "  " + graph.at(parameter).name + " <- " + graph.at(gradient).name + "\n";
  for (ValueId tap : training.taps) text += "tap " + graph.at(tap).name + "\n";
  return text;
}

}  // namespace weir
