// Before: the forward graph. After: a loss node for each trained term, behind all forward nodes, with a scalar weight
// that will seed its reverse sweep; watched and excluded terms are listed without nodes, so that nothing decided from
// here on can depend on them. Here, because types are known and gradients are not.
#include "compiler/passes/measure.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/passes/weighing.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

TermRole role_of(const LossTerm& term, const TermSpec& spec, const std::string& only_term) {
  if (!only_term.empty()) return spec.name == only_term ? TermRole::trained : TermRole::excluded;
  if (!term.excluded_by.empty()) return TermRole::excluded;
  return is_watched(spec) ? TermRole::watched : TermRole::trained;
}

/// A cut at the term's own node also holds where the loss reads the logits behind it.
void set_routing(const Graph& graph, const TermSpec& spec, LossTerm& term) {
  for (const auto& node : spec.stop_at)
    if (const ValueId value = graph.find(node.value); value != none) term.stop_at.insert(value);
  if (term.stop_at.contains(term.at)) term.stop_at.insert(term.prediction);
  for (const auto& layer : spec.skip) term.skip.insert(layer.value);
  for (const auto& layer : spec.only) term.only.insert(layer.value);
}

}  // namespace

TrainingGraph attach_losses(const Spec& spec, Graph graph, Diagnostics& diagnostics, const std::string& only_term) {
  TrainingGraph training{.graph = std::move(graph)};
  bool any = false;
  for (const TermSpec& term_spec : spec.loss->terms) {
    LossTerm term{.name = term_spec.name, .excluded_by = excluded_by(*spec.loss, term_spec), .place = term_spec.place};
    term.role = role_of(term, term_spec, only_term);
    term.constant_weight = term.given_weight = only_term.empty() ? term_spec.weight.value : 1.0;
    const Measure located = locate(training.graph, term_spec);
    term.at = located.at;
    term.prediction = located.prediction;
    set_routing(training.graph, term_spec, term);
    if (term.role == TermRole::trained) {
      any = true;
      const Measure measure =
          add_measure(training.graph, term_spec, "loss." + term.name, Section::loss, true, diagnostics);
      term.node = measure.node;
      term.value = measure.value;
      term.weight = add_weight(training.graph, term.name, only_term.empty() ? term_spec.schedule : std::nullopt);
    }
    training.terms.push_back(std::move(term));
  }
  if (only_term.empty()) combine(*spec.loss, training);
  if (!any && !diagnostics.has_errors())
    diagnostics
        .error("E0401", spec.loss->place, "every loss term is excluded or has weight 0, so there is nothing to train")
        .help = "keep one term with a weight above 0, or use evaluate or predict";
  return training;
}

}  // namespace weir
