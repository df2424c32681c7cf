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

/// With "combine": "normalized", the weights of the trained terms are divided by their sum.
void combine(const LossSpec& loss, TrainingGraph& training);

}  // namespace weir
