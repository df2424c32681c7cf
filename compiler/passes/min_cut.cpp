#include "compiler/passes/min_cut.hpp"

#include <algorithm>
#include <limits>

namespace weir {
namespace {

std::size_t index(int node) { return static_cast<std::size_t>(node); }

}  // namespace

int MinCut::add_variable() {
  edges_.emplace_back();
  return static_cast<int>(edges_.size()) - 3;  // behind source and sink
}

void MinCut::pay(int variable, Price where_0, Price where_1) {
  connect(source, variable + 2, where_1);  // the source's side is 0
  connect(variable + 2, sink, where_0);
}

void MinCut::pay_between(int zero, int one, Price price) { connect(zero + 2, one + 2, price); }

void MinCut::connect(int from, int to, Price room) {
  if (room <= 0 || from == to) return;
  edges_[index(from)].push_back({to, edges_[index(to)].size(), room});
  edges_[index(to)].push_back({from, edges_[index(from)].size() - 1, 0});
}

bool MinCut::measure_distances() {
  distance_.assign(edges_.size(), -1);
  distance_[source] = 0;
  std::vector<int> reached{source};
  for (std::size_t i = 0; i < reached.size(); ++i)
    for (const Edge& edge : edges_[index(reached[i])])
      if (edge.room > 0 && distance_[index(edge.to)] < 0) {
        distance_[index(edge.to)] = distance_[index(reached[i])] + 1;
        reached.push_back(edge.to);
      }
  return distance_[sink] >= 0;
}

MinCut::Price MinCut::push(int from, Price most) {
  if (from == sink) return most;
  for (std::size_t& i = next_[index(from)]; i < edges_[index(from)].size(); ++i) {
    const Edge edge = edges_[index(from)][i];
    if (edge.room <= 0 || distance_[index(edge.to)] != distance_[index(from)] + 1) continue;
    const Price pushed = push(edge.to, std::min(most, edge.room));
    if (pushed == 0) continue;
    edges_[index(from)][i].room -= pushed;
    edges_[index(edge.to)][edge.back].room += pushed;
    return pushed;
  }
  return 0;
}

std::vector<bool> MinCut::reaching_the_sink() const {
  std::vector<bool> reaching(edges_.size(), false);
  reaching[sink] = true;
  std::vector<int> found{sink};
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const Edge& edge : edges_[index(found[i])])
      if (!reaching[index(edge.to)] && edges_[index(edge.to)][edge.back].room > 0) {
        reaching[index(edge.to)] = true;
        found.push_back(edge.to);
      }
  return reaching;
}

std::vector<bool> MinCut::solve() {
  while (measure_distances()) {
    next_.assign(edges_.size(), 0);
    while (push(source, std::numeric_limits<Price>::max()) > 0) {
    }
  }
  const std::vector<bool> ones = reaching_the_sink();
  return {ones.begin() + 2, ones.end()};
}

}  // namespace weir
