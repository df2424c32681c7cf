// What must hold at each stage. A violation is our mistake, never the user's.
#include <set>

#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

void check_operand(const Graph& graph, const Node& node, std::size_t index, const std::set<ValueId>& produced) {
  const ValueId id = node.operands[index];
  const std::size_t named = node.op->operands.size();
  const OperandDef& def = node.op->operands[std::min(index, named - 1)];
  WEIR_CHECK(index < named || def.kind == OperandKind::variadic, node.name + " has too many operands");
  if (id == none) {
    WEIR_CHECK(def.optional,
               node.name + ": operand " + std::string(def.name) + " of " + std::string(node.op->name) + " is absent");
    return;
  }
  const Value& value = graph.at(id);
  WEIR_CHECK(value.kind != ValueKind::result || produced.contains(id),
             node.name + " reads " + value.name + " before it is produced");
  if (def.kind == OperandKind::scalar)
    WEIR_CHECK(value.type == scalar_type(), node.name + ": " + value.name + " is no scalar");
}

void check_results(const Graph& graph, const Node& node, std::set<ValueId>& produced) {
  WEIR_CHECK(node.results.size() <= node.op->results.size(),
             node.name + " has more results than " + std::string(node.op->name));
  for (ValueId id : node.results) {
    if (id == none) continue;
    WEIR_CHECK(graph.at(id).kind == ValueKind::result, node.name + " writes " + graph.at(id).name);
    WEIR_CHECK(produced.insert(id).second, graph.at(id).name + " is produced twice");
  }
}

}  // namespace

void verify(const Graph& graph) {
  std::set<std::pair<bool, std::string>> names;  // a scalar may have a layer's name
  for (const Value& value : graph.values)
    WEIR_CHECK(names.emplace(value.kind == ValueKind::scalar, value.name).second, "two values are named " + value.name);
  std::set<ValueId> produced;
  for (const Node& node : graph.nodes) {
    if (!node.live) continue;
    WEIR_CHECK(node.op, node.name + " has no op");
    for (std::size_t i = 0; i < node.operands.size(); ++i) check_operand(graph, node, i, produced);
    check_results(graph, node, produced);
  }
}

void verify(const TrainingGraph& training) {
  const Graph& graph = training.graph;
  verify(graph);
  for (const auto& [parameter, gradient] : training.gradients) {
    const Value &of = graph.at(parameter), &value = graph.at(gradient);
    WEIR_CHECK(of.kind == ValueKind::parameter, of.name + " is no parameter but has a gradient");
    WEIR_CHECK(of.type == value.type, "the gradient of " + of.name + " has another type");
  }
  for (const LossTerm& term : training.terms) {
    if (term.node == none) continue;
    WEIR_CHECK(term.role != TermRole::excluded, "excluded term " + term.name + " is computed");
    WEIR_CHECK(graph.at(term.value).type == scalar_type(), "the value of term " + term.name + " is no scalar");
  }
}

}  // namespace weir
