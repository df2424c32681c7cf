// Before: the trained program, complete. After: the same nodes untouched, and readers behind them: watched terms
// (weight 0), metrics, taps. What the trained part does not compute (an excluded tail, a linear value that fusion
// swallowed) is computed again for the readers alone, in the section `watch`. Last on this level, so that nothing
// decided before can depend on who watches.
#include "compiler/passes/measure.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

bool produces(const Node& node, ValueId value) {
  for (ValueId result : node.results)
    if (result == value) return true;
  return false;
}

bool is_produced(const Graph& graph, ValueId value) {
  const NodeId producer = graph.at(value).producer;
  return graph.node(producer).live && produces(graph.node(producer), value);
}

/// Makes sure that a live node produces the value: a copy of its node in the section `watch` where none does.
void ensure(Graph& graph, ValueId value) {
  if (value == none || graph.at(value).kind != ValueKind::result) return;
  const NodeId producer = graph.at(value).producer;
  if (is_produced(graph, value)) return;
  const std::vector<ValueId> operands = graph.node(producer).operands;
  for (ValueId operand : operands) ensure(graph, operand);
  Node copy = graph.node(producer);
  const bool swallowed = graph.node(producer).live;  // its first result is the activation's
  copy.section = Section::watch;
  copy.live = true;
  copy.post_op = nullptr;
  for (std::size_t i = 0; i < copy.results.size(); ++i) {
    const ValueId result = copy.results[i];
    if (result == none || result == value) continue;
    if (swallowed && i == 0)
      copy.results[i] = value;
    else if (swallowed || is_produced(graph, result))
      copy.results[i] = graph.add_value(
          {.name = graph.at(result).name, .type = graph.at(result).type, .axes = graph.at(result).axes});
  }
  graph.add_node(std::move(copy));
}

/// Adds the measure's node after everything it reads.
Measure watch(Graph& graph, const TermSpec& term, const std::string& name, Diagnostics& diagnostics) {
  const Measure located = locate(graph, term);
  ensure(graph, located.prediction);
  if (term.target.kind == TargetSpec::Kind::node) ensure(graph, graph.find(term.target.name));
  return add_measure(graph, term, name, Section::watch, true, diagnostics);
}

}  // namespace

TrainingGraph attach_watchers(const Spec& spec, TrainingGraph training, const std::vector<std::string>& taps,
                              Diagnostics& diagnostics) {
  Graph& graph = training.graph;
  for (std::size_t i = 0; i < training.terms.size(); ++i) {
    LossTerm& term = training.terms[i];
    if (term.role != TermRole::watched) continue;
    const Measure measure = watch(graph, spec.loss->terms[i], "loss." + term.name, diagnostics);
    term.node = measure.node;
    term.value = measure.value;
  }
  for (const TermSpec& metric : spec.train->metrics) {
    const Measure measure = watch(graph, metric, "metric." + metric.name, diagnostics);
    training.metrics.push_back({metric.name, measure.value, measure.node});
  }
  for (const std::string& tap : taps) {
    const ValueId value = graph.find(tap);
    if (value == none) throw Error(ErrorCode::not_found, "there is no node \"" + tap + "\" to tap");
    ensure(graph, value);
    training.taps.push_back(value);
  }
  return training;
}

}  // namespace weir
