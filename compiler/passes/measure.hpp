// One loss or metric node, the same way for trained terms, watched terms, metrics and evaluation.
#pragma once

#include "compiler/ir/op.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

struct Measure {
  NodeId node = none;
  ValueId at = none;
  ValueId prediction = none;
  ValueId value = none;
};

/// Resolves `at` alone: what the user named, and what the loss reads (the logits behind it where the record says so).
Measure locate(const Graph& graph, const TermSpec& term);

/// Adds the node (and a one-hot node where the op reads no classes). name: of the scalar result, "loss.final". Where
/// shapes do not fit, a diagnostic at the term and node == none.
Measure add_measure(Graph& graph, const TermSpec& term, std::string name, Section section, bool training,
                    Diagnostics& diagnostics);

/// Where the term's gradient ends and whom it leaves alone, from the specification. `at` and `prediction` are there.
void set_routing(const Graph& graph, const TermSpec& spec, LossTerm& term);

/// Whether the term is left out, and by which entry ("" where it is kept).
std::string excluded_by(const LossSpec& loss, const TermSpec& term);

}  // namespace weir
