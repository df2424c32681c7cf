// The way of a term's gradient, in words: from the node it is attached to back through the layers, and what ends it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/ir/graph.hpp"

namespace weir {

/// A value and who reads it: a layer, or the term itself.
struct Passage {
  std::string value, reader;
  bool operator==(const Passage&) const = default;
};

struct GradientCut {
  Passage at;
  bool of_term = false;  ///< its stop_at; else the layer's stop_gradient
};

struct TermRoute {
  std::string reads;                 ///< "the logits behind softmax output", or ""
  std::vector<std::string> through;  ///< layers that the gradient passes, backwards from the term's node
  std::vector<std::string> layers;   ///< that the term's node depends on, that of the node first
  bool chain = true;                 ///< each of them feeds the one before: the way does not fork
  std::vector<std::string> ends;     ///< "at hidden (stop_at of this term)"; in the order in which the way meets them
  std::vector<Passage> passages;     ///< that its gradient takes, from the reader to the value; none inside a layer
  std::vector<GradientCut> cuts;     ///< where it ends
  std::map<std::string, std::string> obstacles;  ///< by parameter behind the node without gradient: "frozen", "skip", …
};

/// training: with this term alone as a trained one (attach_losses with only_term), not differentiated.
TermRoute describe_route(const TrainingGraph& training, std::size_t term);

/// Of a trained term that reaches no parameter, why: "frozen: layer hidden; stops at code (stop_gradient of the
/// layer)".
std::string what_is_in_the_way(const TrainingGraph& training, std::size_t term);

/// Places where trained terms part ways: layer → names of the terms that share a gradient there, one list a gradient.
/// Empty where every term goes the same way, so that one reverse sweep serves all.
struct Sweeps {
  std::size_t count = 0;  ///< of distinct gradients at the value with the most of them
  std::vector<std::pair<std::string, std::vector<std::string>>> partings;
};
Sweeps count_sweeps(const TrainingGraph& training);

}  // namespace weir
