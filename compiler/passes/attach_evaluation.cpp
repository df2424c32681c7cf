// Before: an evaluation graph (dropout gone, moving statistics read). After: loss nodes of the kept and watched terms,
// the regularizers and the metrics where `losses` is set, and the taps. Excluded terms are not computed.
#include "compiler/passes/measure.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/passes/regularize.hpp"
#include "compiler/passes/weighing.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

LossTerm evaluate_term(Graph& graph, const LossSpec& loss, const TermSpec& spec, Diagnostics& diagnostics) {
  LossTerm term{.name = spec.name,
                .constant_weight = spec.weight.value,
                .given_weight = spec.weight.value,
                .excluded_by = excluded_by(loss, spec),
                .place = spec.place};
  term.role = !term.excluded_by.empty() ? TermRole::excluded : is_watched(spec) ? TermRole::watched : TermRole::trained;
  const Measure measure = term.role == TermRole::excluded
                              ? locate(graph, spec)
                              : add_measure(graph, spec, "loss." + spec.name, Section::loss, false, diagnostics);
  term.at = measure.at;
  term.prediction = measure.prediction;
  term.value = measure.value;
  term.node = measure.node;
  set_routing(graph, spec, term);
  if (term.role == TermRole::trained) term.weight = add_weight(graph, term.name, spec.schedule);
  return term;
}

}  // namespace

TrainingGraph attach_evaluation(const Spec& spec, Graph graph, const std::vector<std::string>& taps, bool losses,
                                Diagnostics& diagnostics) {
  TrainingGraph evaluation{.graph = std::move(graph)};
  if (losses && spec.loss) {
    for (const TermSpec& term : spec.loss->terms)
      evaluation.terms.push_back(evaluate_term(evaluation.graph, *spec.loss, term, diagnostics));
    combine(*spec.loss, evaluation);
    if (!diagnostics.has_errors()) add_regularizers(spec, evaluation, diagnostics);
  }
  if (losses && spec.train)
    for (const TermSpec& metric : spec.train->metrics) {
      const Measure measure =
          add_measure(evaluation.graph, metric, "metric." + metric.name, Section::watch, false, diagnostics);
      evaluation.metrics.push_back({metric.name, measure.value, measure.node});
    }
  for (const std::string& tap : taps) {
    const ValueId value = evaluation.graph.find(tap);
    if (value == none) throw Error(ErrorCode::not_found, "there is no node \"" + tap + "\"");
    evaluation.taps.push_back(value);
  }
  return evaluation;
}

}  // namespace weir
