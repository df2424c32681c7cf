// How the terms of a loss are weighed: the scalar that holds a weight, the curve it follows, and what the weights are
// divided by. The same for training and for evaluation.
#pragma once

#include <optional>
#include <string>

#include "compiler/ir/graph.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

/// A constant weight of 0: computed, never trained. A schedule is live even where it is 0.
bool is_watched(const TermSpec& term);

/// The scalar "weight.<term>".
ValueId add_weight(Graph& graph, const std::string& term, std::optional<Schedule> schedule);

/// The terms of the loss section are there, and nothing behind them. "normalized": the weights of the trained ones are
/// divided by their sum. "uncertainty": each gets a weight computed from its parameter "<term>.log_variance", and a
/// part of the total of that name, which trains the parameter.
void combine(const LossSpec& loss, TrainingGraph& training);

/// The part of the term's learned weight: `loss` is its value, `weight` the scalar that the host sets.
LossTerm add_log_variance(Graph& graph, const TermSpec& term, ValueId loss, ValueId weight);

}  // namespace weir
