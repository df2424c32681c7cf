#include "compiler/passes/weighing.hpp"

#include "compiler/ir/types.hpp"

namespace weir {

bool is_watched(const TermSpec& term) { return !term.schedule && term.weight.value == 0; }

ValueId add_weight(Graph& graph, const std::string& term, std::optional<Schedule> schedule) {
  Value weight{.name = "weight." + term, .kind = ValueKind::scalar, .type = scalar_type()};
  weight.schedule = std::move(schedule);
  return graph.add_value(std::move(weight));
}

void combine(const LossSpec& loss, TrainingGraph& training) {
  training.normalized = loss.combine == "normalized";
  if (!training.normalized) return;
  double sum = 0;
  for (const LossTerm& term : training.terms)
    if (term.role == TermRole::trained && !term.regularizer) sum += term.given_weight;
  for (LossTerm& term : training.terms)
    if (term.role == TermRole::trained && !term.regularizer)
      term.constant_weight = sum == 0 ? 0 : term.given_weight / sum;
}

}  // namespace weir
