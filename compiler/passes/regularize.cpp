#include "compiler/passes/regularize.hpp"

#include <set>

#include "compiler/ir/op.hpp"
#include "compiler/passes/measure.hpp"
#include "compiler/passes/routing.hpp"
#include "compiler/passes/weighing.hpp"

namespace weir {
namespace {

bool of_output(const ParameterRule& rule) { return rule.of.empty(); }

/// The parameter, or the layer's node; none behind a layer that was already reported.
ValueId target_of(const Graph& graph, const LayerSpec& layer, const ParameterRule& rule) {
  return graph.find(of_output(rule) ? layer.name : layer.name + "." + rule.of);
}

LossTerm term_of(const ParameterRule& rule, ValueId at) {
  LossTerm term{.name = rule.name, .at = at, .prediction = at, .place = rule.place};
  term.regularizer = true;
  return term;
}

void add_node(TrainingGraph& training, const ParameterRule& rule, LossTerm& term, Diagnostics& diagnostics) {
  Graph& graph = training.graph;
  Node node{
      .op = rule.op, .name = rule.name, .operands = {term.at, graph.scalar("rows")}, .attributes = rule.attributes};
  node.section = Section::loss;
  node.place = rule.place;
  if (of_output(rule)) node.attributes.set("activity", true);
  InferContext context(graph, node);
  try {
    rule.op->infer(context);
  } catch (const InferFailure& failure) {
    diagnostics.error("E0312", rule.place, "\"" + rule.name + "\": " + failure.message);
    return;
  }
  term.value = graph.add_value({.name = "loss." + term.name, .type = scalar_type()});
  node.results = {term.value};
  term.node = graph.add_node(std::move(node));
  term.weight = add_weight(graph, term.name, std::nullopt);
}

/// The loss is computed for it and gets no gradient.
LossTerm log_variance_alone(Graph& graph, const TermSpec& term, Diagnostics& diagnostics) {
  const Measure loss = add_measure(graph, term, "loss." + term.name, Section::loss, true, diagnostics);
  return add_log_variance(graph, term, loss.value, add_weight(graph, term.name + ".log_variance", std::nullopt));
}

std::string excluding_entry(const Spec& spec, const LayerSpec& layer) {
  for (const auto& entry : spec.loss->exclude)
    if (entry.value == layer.name) return entry.value;
  return "";
}

std::set<ValueId> trained_parameters(const TrainingGraph& training) {
  const Routing routing = route(training);
  std::set<ValueId> all;
  for (std::size_t term = 0; term < training.terms.size(); ++term)
    if (training.terms[term].role == TermRole::trained) all.merge(reached(training, routing, term));
  return all;
}

/// visit(layer, rule, node) over the regularizers of outputs, or else of parameters.
template <class Visit>
void for_each_rule(const Spec& spec, const Graph& graph, bool outputs, Visit&& visit) {
  for (const LayerSpec& layer : spec.layers)
    for (const ParameterRule& rule : layer.regularizers)
      if (const ValueId at = target_of(graph, layer, rule); at != none && of_output(rule) == outputs)
        visit(layer, rule, at);
}

}  // namespace

void add_regularizers(const Spec& spec, TrainingGraph& training, Diagnostics& diagnostics) {
  for_each_rule(spec, training.graph, true, [&](const LayerSpec& layer, const ParameterRule& rule, ValueId at) {
    LossTerm term = term_of(rule, at);
    term.excluded_by = excluding_entry(spec, layer);
    if (!term.excluded_by.empty()) term.role = TermRole::excluded;
    if (term.role == TermRole::trained) add_node(training, rule, term, diagnostics);
    training.terms.push_back(std::move(term));
  });
  if (diagnostics.has_errors()) return;
  const std::set<ValueId> trained = trained_parameters(training);
  for_each_rule(spec, training.graph, false, [&](const LayerSpec&, const ParameterRule& rule, ValueId at) {
    if (!trained.contains(at)) return;
    LossTerm term = term_of(rule, at);
    add_node(training, rule, term, diagnostics);
    training.terms.push_back(std::move(term));
  });
}

void add_regularizers_alone(const Spec& spec, TrainingGraph& training, const TrainingGraph& whole,
                            const std::string& only_term, Diagnostics& diagnostics) {
  for (const LossTerm& listed : whole.terms) {
    if (!listed.regularizer) continue;
    LossTerm term{.name = listed.name, .at = listed.at, .prediction = listed.at, .place = listed.place};
    term.regularizer = true;
    term.excluded_by = listed.excluded_by;
    term.role = listed.name == only_term ? TermRole::trained : TermRole::excluded;
    if (term.role == TermRole::trained) {
      for (const LayerSpec& layer : spec.layers)
        for (const ParameterRule& rule : layer.regularizers)
          if (rule.name == only_term) add_node(training, rule, term, diagnostics);
      for (const TermSpec& of : spec.loss->terms)
        if (of.name + ".log_variance" == only_term) term = log_variance_alone(training.graph, of, diagnostics);
    }
    training.terms.push_back(std::move(term));
  }
}

}  // namespace weir
