// Before: the forward graph. After: a loss node for each trained term, behind all forward nodes, with a scalar weight
// that will seed its reverse sweep, and behind them the layers' regularizers (regularize.hpp); watched and excluded
// terms are listed without nodes, so that nothing decided from here on can depend on them. Here, because types are
// known and gradients are not.
#include "compiler/passes/measure.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/passes/regularize.hpp"
#include "compiler/passes/weighing.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

TermRole role_of(const LossTerm& term, const TermSpec& spec, const std::string& only_term) {
  if (!only_term.empty()) return spec.name == only_term ? TermRole::trained : TermRole::excluded;
  if (!term.excluded_by.empty()) return TermRole::excluded;
  return is_watched(spec) ? TermRole::watched : TermRole::trained;
}

LossTerm add_term(const Spec& spec, Graph& graph, const TermSpec& term_spec, const std::string& only_term,
                  Diagnostics& diagnostics) {
  LossTerm term{.name = term_spec.name, .excluded_by = excluded_by(*spec.loss, term_spec), .place = term_spec.place};
  term.role = role_of(term, term_spec, only_term);
  term.constant_weight = term.given_weight = only_term.empty() ? term_spec.weight.value : 1.0;
  const Measure located = locate(graph, term_spec);
  term.at = located.at;
  term.prediction = located.prediction;
  set_routing(graph, term_spec, term);
  if (term.role != TermRole::trained) return term;
  const Measure measure = add_measure(graph, term_spec, "loss." + term.name, Section::loss, true, diagnostics);
  term.node = measure.node;
  term.value = measure.value;
  term.weight = add_weight(graph, term.name, only_term.empty() ? term_spec.schedule : std::nullopt);
  return term;
}

bool is_any_trained(const TrainingGraph& training) {
  for (const LossTerm& term : training.terms)
    if (term.role == TermRole::trained) return true;
  return false;
}

}  // namespace

TrainingGraph attach_losses(const Spec& spec, Graph graph, Diagnostics& diagnostics, const std::string& only_term) {
  TrainingGraph whole;
  if (!only_term.empty()) {
    Diagnostics ignored;
    whole = attach_losses(spec, graph, ignored);
  }
  TrainingGraph training{.graph = std::move(graph)};
  for (const TermSpec& term : spec.loss->terms)
    training.terms.push_back(add_term(spec, training.graph, term, only_term, diagnostics));
  bool any = is_any_trained(training);  // a regularizer alone is nothing to learn from, unless it is asked for
  if (only_term.empty()) {
    combine(*spec.loss, training);
    if (!diagnostics.has_errors()) add_regularizers(spec, training, diagnostics);
  } else {
    add_regularizers_alone(spec, training, whole, only_term, diagnostics);
    any = is_any_trained(training);
  }
  if (!any && !diagnostics.has_errors())
    diagnostics
        .error("E0401", spec.loss->place, "every loss term is excluded or has weight 0, so there is nothing to train")
        .help = "keep one term with a weight above 0, or use evaluate or predict";
  return training;
}

}  // namespace weir
