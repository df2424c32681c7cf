// The layers' regularizers as terms of the loss, the same way for training and evaluation.
#pragma once

#include <string>

#include "compiler/diagnostic.hpp"
#include "compiler/ir/graph.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

/// Before: the terms of the loss section with their routing. After: behind them a term for each activity_regularizer,
/// at its layer's node, and then one for each regularizer of a parameter that some trained term reaches; nothing is
/// routed away from those. An activity regularizer is left out where `exclude` names its layer.
void add_regularizers(const Spec& spec, TrainingGraph& training, Diagnostics& diagnostics);

/// The same terms where one term alone is differentiated: which parameters count is decided by `whole`, of the same
/// forward graph, and only the term of that name has a node.
void add_regularizers_alone(const Spec& spec, TrainingGraph& training, const TrainingGraph& whole,
                            const std::string& only_term, Diagnostics& diagnostics);

}  // namespace weir
