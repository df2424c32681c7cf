#include "compiler/passes/lints.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "compiler/ir/op.hpp"
#include "compiler/passes/routing.hpp"

namespace weir {
namespace {

/// Terms whose weights are further apart than this can hardly both matter in f32 training.
constexpr double far_apart = 1e4;

/// Up to this, what an optimizer adds to a quotient against division by 0 is no part of its steps.
constexpr double small_epsilon = 1e-5;

const TermSpec& spec_of(const Spec& spec, std::size_t term) { return spec.loss->terms[term]; }

/// A layer that reads probabilities only because it happens to stand behind them.
void lint_entries_behind_probabilities(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  std::set<std::string> probabilities;
  for (const LossTerm& term : training.terms)
    if (term.at != term.prediction) probabilities.insert(training.graph.at(term.at).name);
  for (const LayerSpec& layer : spec.layers)
    if (!layer.places.contains("from") && layer.from.size() == 1 && probabilities.contains(layer.from[0].value))
      diagnostics
          .warning("W0302", layer.place,
                   fmt::format("layer \"{}\" reads the probabilities of \"{}\", at which a loss term ends, because it "
                               "stands behind it",
                               layer.name, layer.from[0].value))
          .help = "say with \"from\" what it reads";
}

/// The lists of the file; what a flag adds (line 0) may repeat it.
void lint_repeated(const std::vector<Located<std::string>>& list, const char* key, Diagnostics& diagnostics) {
  std::set<std::string> seen;
  for (const auto& entry : list)
    if (!seen.insert(entry.value).second && entry.place.line > 0)
      diagnostics.warning("W0406", entry.place, fmt::format("\"{}\" names \"{}\" twice", key, entry.value)).help =
          "take one of them out of the list";
}

void lint_lists(const Spec& spec, Diagnostics& diagnostics) {
  lint_repeated(spec.loss->exclude, "exclude", diagnostics);
  for (const TermSpec& term : spec.loss->terms) {
    lint_repeated(term.stop_at, "stop_at", diagnostics);
    lint_repeated(term.skip, "skip", diagnostics);
    lint_repeated(term.only, "only", diagnostics);
  }
}

void lint_cuts_at_inputs(const Spec& spec, const Graph& graph, Diagnostics& diagnostics) {
  for (const TermSpec& term : spec.loss->terms)
    for (const auto& node : term.stop_at)
      if (const ValueId value = graph.find(node.value); value != none && graph.at(value).kind == ValueKind::input)
        diagnostics
            .warning(
                "W0407", node.place,
                fmt::format("loss term \"{}\": \"stop_at\" names the input \"{}\", where every gradient ends anyway",
                            term.name, node.value))
            .help = "name the first layer that should get nothing, or leave the entry out";
}

void lint_weights(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  std::size_t least = training.terms.size(), most = least;
  for (std::size_t i = 0; i < training.terms.size(); ++i) {
    const LossTerm& term = training.terms[i];
    if (term.role != TermRole::trained || term.regularizer || spec_of(spec, i).schedule) continue;
    const double weight = training.terms[i].constant_weight;
    if (least == training.terms.size() || weight < training.terms[least].constant_weight) least = i;
    if (most == training.terms.size() || weight > training.terms[most].constant_weight) most = i;
  }
  if (least == most) return;
  const double ratio = training.terms[most].constant_weight / training.terms[least].constant_weight;
  if (ratio > far_apart)
    diagnostics
        .warning("W0408", spec_of(spec, least).weight.place,
                 fmt::format("the weight of loss term \"{}\" is {:.3g} times that of \"{}\"", training.terms[most].name,
                             ratio, training.terms[least].name))
        .help = "weir train --gradient-norms shows how large each term's gradient is";
}

/// With one term, an optimizer that divides by the size of gradients divides the weight away too.
void lint_lone_weight(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  if (!spec.train || !spec.train->optimizer->scale_free) return;
  const Attributes& settings = spec.train->optimizer_attributes;
  if (settings.has("epsilon") && settings.number("epsilon") > small_epsilon) return;
  const auto trains = [](const LossTerm& term) { return term.role == TermRole::trained; };
  if (std::count_if(training.terms.begin(), training.terms.end(), trains) != 1) return;
  const auto lone = std::find_if(training.terms.begin(), training.terms.end(), trains);
  if (lone->regularizer || lone->constant_weight == 1) return;
  const TermSpec& written = spec_of(spec, static_cast<std::size_t>(lone - training.terms.begin()));
  if (written.schedule) return;
  diagnostics
      .warning("W0411", written.weight.place,
               fmt::format("loss term \"{}\" is the only one that is kept, so its weight {} has no effect beyond "
                           "epsilon: a step of {} does not depend on the size of gradients",
                           lone->name, shortest(lone->constant_weight), spec.train->optimizer->name))
      .help = "\"learning_rate\" makes steps larger or smaller";
}

bool sums_to_one(const Graph& graph, ValueId value) {
  const NodeId producer = graph.at(value).producer;
  return producer != none && graph.node(producer).op->sums_to_one;
}

/// Against one constant for every entry, a loss between distributions only wants larger entries.
bool only_pushes_up(const Spec& spec, const TrainingGraph& training, std::size_t term) {
  const TermSpec& written = spec_of(spec, term);
  return written.target.kind == TargetSpec::Kind::constant && written.target.constant < 1 &&
         !written.op->instead_of_constant.empty() && !sums_to_one(training.graph, training.terms[term].at);
}

void lint_pushed_up(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < training.terms.size() && !training.terms[i].regularizer; ++i) {
    if (training.terms[i].role != TermRole::trained || !only_pushes_up(spec, training, i)) continue;
    const TermSpec& written = spec_of(spec, i);
    diagnostics
        .warning("W0410", training.terms[i].place,
                 fmt::format("loss term \"{}\": against a constant, {} only falls as predictions grow: it pushes every "
                             "entry of \"{}\" up to 1, never to {}",
                             written.name, written.op->name, written.at.value, shortest(written.target.constant)))
        .help = fmt::format("\"{}\" holds units near a value", written.op->instead_of_constant);
  }
}

/// A term against a constant is least where the network says that constant for every sample.
void lint_constant_minimum(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  const Routing routing = route(training);
  std::vector<std::set<ValueId>> all;
  for (std::size_t i = 0; i < training.terms.size() && !training.terms[i].regularizer; ++i)
    all.push_back(training.terms[i].role == TermRole::trained ? reached(training, routing, i) : std::set<ValueId>{});
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].empty() || spec_of(spec, i).target.kind != TargetSpec::Kind::constant) continue;
    if (only_pushes_up(spec, training, i)) continue;  // then that is not where it is least
    const bool alone = std::none_of(all[i].begin(), all[i].end(), [&](ValueId parameter) {
      for (std::size_t j = 0; j < all.size(); ++j)
        if (j != i && all[j].contains(parameter)) return true;
      return false;
    });
    if (!alone) continue;
    diagnostics
        .warning("W0409", training.terms[i].place,
                 fmt::format("loss term \"{}\" alone trains what it reaches, against a constant: it is least where the "
                             "network gives that constant for every sample",
                             training.terms[i].name))
        .help = "keep a term with a real target behind the same layers";
  }
}

}  // namespace

void lint(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics) {
  lint_entries_behind_probabilities(spec, training, diagnostics);
  lint_lists(spec, diagnostics);
  lint_cuts_at_inputs(spec, training.graph, diagnostics);
  lint_weights(spec, training, diagnostics);
  lint_lone_weight(spec, training, diagnostics);
  lint_pushed_up(spec, training, diagnostics);
  lint_constant_minimum(spec, training, diagnostics);
}

}  // namespace weir
