// The node entry_weights of a weighted loss or metric.
#pragma once

#include "compiler/ir/op.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

/// Whether the term has a mask, sample or class weights, or an ignored class.
bool is_weighted(const TermSpec& term);

/// Adds the node before `measure` (the loss or metric node, operands and attributes set, not yet in the graph) and
/// makes `measure` read it; what the new node holds moves out of its attributes. metric: divides by the sum of weights.
/// Throws InferFailure where shapes or the number of class weights do not fit.
void add_entry_weights(Graph& graph, const TermSpec& term, Node& measure, bool metric);

}  // namespace weir
