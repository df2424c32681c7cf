#include "compiler/passes/weighing.hpp"

#include "compiler/ir/op.hpp"

namespace weir {

bool is_watched(const TermSpec& term) { return !term.schedule && term.weight.value == 0; }

ValueId add_weight(Graph& graph, const std::string& term, std::optional<Schedule> schedule) {
  Value weight{.name = "weight." + term, .kind = ValueKind::scalar, .type = scalar_type()};
  weight.schedule = std::move(schedule);
  return graph.add_value(std::move(weight));
}

namespace {

void normalize(TrainingGraph& training) {
  double sum = 0;
  for (const LossTerm& term : training.terms)
    if (term.role == TermRole::trained && !term.regularizer) sum += term.given_weight;
  for (LossTerm& term : training.terms)
    if (term.role == TermRole::trained && !term.regularizer)
      term.constant_weight = sum == 0 ? 0 : term.given_weight / sum;
}

double factor_of(const TermSpec& term) { return term.op->classification ? 1.0 : 0.5; }

void learn_weights(const LossSpec& loss, TrainingGraph& training) {
  for (std::size_t i = 0; i < loss.terms.size(); ++i) {
    if (training.terms[i].role != TermRole::trained || training.terms[i].node == none) continue;
    LossTerm part = add_log_variance(training.graph, loss.terms[i], training.terms[i].value, training.terms[i].weight);
    LossTerm& term = training.terms[i];
    part.constant_weight = part.given_weight = term.given_weight;
    term.given = term.weight;
    term.weight = training.graph.node(part.node).results[2];
    term.constant_weight *= factor_of(loss.terms[i]);
    training.terms.push_back(std::move(part));
  }
}

}  // namespace

LossTerm add_log_variance(Graph& graph, const TermSpec& term, ValueId loss, ValueId weight) {
  LossTerm part{.name = term.name + ".log_variance", .weight = weight, .place = term.place};
  part.at = part.prediction = graph.find(part.name);
  part.regularizer = true;
  Node node{.op = &structural_op("uncertainty"),
            .name = part.name,
            .operands = {part.at, loss, weight},
            .attributes = {{"factor", factor_of(term)}}};
  node.section = Section::loss;
  node.place = term.place;
  for (const std::string& name : {"learned." + term.name, "loss." + part.name, "learned_weight." + term.name})
    node.results.push_back(graph.add_value({.name = name, .type = scalar_type()}));
  part.value = node.results[0];
  part.reported = node.results[1];
  part.node = graph.add_node(std::move(node));
  return part;
}

void combine(const LossSpec& loss, TrainingGraph& training) {
  training.normalized = loss.combine == "normalized";
  training.uncertain = loss.combine == "uncertainty";
  if (training.normalized) normalize(training);
  if (training.uncertain) learn_weights(loss, training);
}

}  // namespace weir
