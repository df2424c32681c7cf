// What one entry of a parameter does to the losses: the references run again over the nodes that depend on it and on
// nothing else, with what a term holds constant held constant (its cuts, stop_gradient, its target). For central
// differences; it shares no code with differentiate and its routing, which it is there to judge.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "compiler/interpret/interpret.hpp"

namespace weir {

class LossProbe {
 public:
  /// base: computed, at any stage before fuse_post_ops. Copies what it needs.
  LossProbe(const Interpreter& base, std::int64_t batch);

  /// By term: whether the parameter takes part in it and moves its value. False for terms that are not trained.
  std::vector<bool> reached_terms(ValueId parameter);

  /// By term: its value with parameter[entry] moved by `delta`. Terms that the parameter does not reach keep their
  /// value; those that are not trained are 0.
  std::vector<double> values(ValueId parameter, std::int64_t entry, double delta);
  const std::vector<double>& values() const { return values_; }  ///< with nothing moved

 private:
  /// The way from a parameter to terms with the same cuts.
  struct Route {
    std::vector<std::size_t> terms;
    std::vector<NodeId> nodes;
    std::vector<bool> moved;  ///< by value
  };

  const std::vector<Route>& routes(ValueId parameter);
  Route find_route(ValueId parameter, const std::set<ValueId>& cuts, const std::vector<std::size_t>& terms) const;
  void keep_needed(Route& route) const;
  /// A layer that changes its gradient moves by so much more or less, which is what the gradient then tells.
  void run(const Node& node, const Route& route);
  double factor_of(const Node& node) const;

  TrainingGraph training_;
  std::int64_t batch_;
  std::vector<Array> base_, moved_;  ///< by value
  std::vector<double> values_;
  std::map<ValueId, std::vector<Route>> routes_;
};

/// How far rounding alone may carry values: the computed graph again, forward and backward, each entry of each result
/// multiplied by 1 + u, u uniform in [-unit, unit] and drawn from `key`. By value; where no node wrote, as in base.
std::vector<Array> run_with_rounding(const Interpreter& base, std::int64_t batch, double unit, std::uint64_t key);

}  // namespace weir
