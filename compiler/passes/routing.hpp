// Where each term's gradient flows: the one place that knows cuts, skipped and frozen layers.
#pragma once

#include <set>
#include <vector>

#include "compiler/ir/graph.hpp"

namespace weir {

/// signature[term][value] names the subgraph behind the value that still hears the term: its parameters that take part
/// and the cuts between. 0: nothing does. Two terms have the same signature at a value exactly where that subgraph is
/// the same, and there they share their gradient.
struct Routing {
  struct Flow {
    NodeId node = none;         ///< `none` for a parameter
    std::vector<int> operands;  ///< signatures of the node's operands
  };
  std::vector<std::vector<int>> signature;  ///< by term (excluded and watched ones: empty), then by value
  std::vector<Flow> flows;                  ///< by signature; [0] is empty

  int at(std::size_t term, ValueId value) const;
};

/// Any graph with loss terms; only trained terms route anything.
Routing route(const TrainingGraph& training);

/// Parameters that hear the term, which is trained.
std::set<ValueId> reached(const TrainingGraph& training, const Routing& routing, std::size_t term);

/// Warnings: a trained term that trains nothing, an entry of skip or only without effect, a frozen layer with random
/// initial values.
void report_routing(const TrainingGraph& training, Diagnostics& diagnostics);

/// An operand through which a gradient may flow at all: a value or a parameter, no scalar or state, and a target only
/// where the node asks for its gradient.
bool is_differentiable(const Node& node, std::size_t operand);

}  // namespace weir
