#include "compiler/explain_route.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/ir/op.hpp"
#include "compiler/passes/routing.hpp"

namespace weir {
namespace {

using Values = std::set<ValueId>;

/// What `from` is computed from, itself included.
Values behind(const Graph& graph, ValueId from) {
  Values seen;
  std::vector<ValueId> open{from};
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (id == none || !seen.insert(id).second || graph.at(id).producer == none) continue;
    const auto& operands = graph.node(graph.at(id).producer).operands;
    open.insert(open.end(), operands.begin(), operands.end());
  }
  return seen;
}

class Walk {
 public:
  Walk(const TrainingGraph& training, std::size_t index)
      : graph_(training.graph), term_(training.terms[index]), routing_(route(training)), index_(index) {
    follow();
  }

  TermRoute result() {
    TermRoute route;
    if (term_.prediction != term_.at) {
      const Node& output = graph_.node(graph_.at(term_.at).producer);
      const OpDef& op = output.post_op ? *output.post_op : *output.op;
      route.reads = fmt::format("the logits behind {} {}", op.name, graph_.at(term_.at).name);
    }
    layers_behind(route);
    passed_layers(route);
    for (ValueId cut : cuts_) route.ends.push_back(fmt::format("at {}", cut_text(cut)));
    for (const std::string& layer : frozen_) route.ends.push_back(fmt::format("for layer {}, which is frozen", layer));
    obstacles(route);
    route.passages = passages();
    route.cuts = std::move(ended_);
    return route;
  }

 private:
  /// Backwards over operands that a gradient may pass, as far as the cuts; nodes run from the last to the first.
  void follow() {
    Values open;
    if (term_.node == none)
      visit(term_.prediction, term_.name, open);
    else  // its prediction, and a target that learns
      for_each_way(graph_.node(term_.node), [&](ValueId operand) { visit(operand, term_.name, open); });
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()) - 1; id >= 0; --id) {
      const Node& node = graph_.node(id);
      if (std::none_of(node.results.begin(), node.results.end(), [&](ValueId r) { return open.contains(r); })) continue;
      for_each_way(node, [&](ValueId operand) { visit(operand, node.name, open); });
    }
  }

  template <class Visit>
  static void for_each_way(const Node& node, Visit&& visit) {
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      if (is_differentiable(node, i)) visit(node.operands[i]);
  }

  void visit(ValueId value, const std::string& reader, Values& open) {
    const bool cut = graph_.at(value).stop_gradient || term_.stop_at.contains(value);
    if (!cut) {
      open.insert(value);
      heard_.insert(value);
    } else {
      if (std::find(cuts_.begin(), cuts_.end(), value) == cuts_.end()) cuts_.push_back(value);
      ended_.push_back({{node_named(value), reader}, term_.stop_at.contains(value)});
    }
    const Value& parameter = graph_.at(value);
    if (parameter.kind == ValueKind::parameter && !parameter.trainable &&
        std::find(frozen_.begin(), frozen_.end(), parameter.layer) == frozen_.end())
      frozen_.push_back(parameter.layer);
  }

  /// The node that the user named, where the cut is at the logits behind it.
  const std::string& node_named(ValueId cut) const {
    const bool logits = cut == term_.prediction && term_.stop_at.contains(term_.at);
    return graph_.at(logits ? term_.at : cut).name;
  }

  std::string cut_text(ValueId cut) const {
    const bool named = term_.stop_at.contains(cut);
    return fmt::format("{} ({})", node_named(cut), named ? "stop_at of this term" : "stop_gradient of the layer");
  }

  void layers_behind(TermRoute& route) const {
    const Values values = behind(graph_, term_.at);
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()) - 1; id >= 0; --id) {
      const Node& node = graph_.node(id);
      const bool read =
          std::any_of(node.results.begin(), node.results.end(), [&](ValueId r) { return values.contains(r); });
      if (read && (route.layers.empty() || route.layers.back() != node.name)) route.layers.push_back(node.name);
    }
  }

  void passed_layers(TermRoute& route) const {
    std::vector<NodeId> passed;
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()) - 1; id >= 0; --id) {
      const Node& node = graph_.node(id);
      if (node.section != Section::forward) continue;
      if (!hears(node)) continue;
      if (!passed.empty() && !reads(graph_.node(passed.back()), node)) route.chain = false;
      passed.push_back(id);
      if (route.through.empty() || route.through.back() != node.name) route.through.push_back(node.name);
    }
  }

  bool flows(ValueId value) const { return heard_.contains(value) && routing_.at(index_, value) != 0; }
  bool hears(const Node& node) const {
    return std::any_of(node.results.begin(), node.results.end(),
                       [&](ValueId result) { return result != none && flows(result); });
  }

  std::vector<Passage> passages() const {
    std::vector<Passage> all;
    const auto add = [&](ValueId value, const std::string& reader) {
      const NodeId producer = graph_.at(value).producer;
      const bool inside = producer != none && graph_.node(producer).name == reader;
      const Passage passage{graph_.at(value).name, reader};
      if (flows(value) && !inside && std::find(all.begin(), all.end(), passage) == all.end()) all.push_back(passage);
    };
    if (term_.node != none) for_each_way(graph_.node(term_.node), [&](ValueId value) { add(value, term_.name); });
    for (NodeId id = static_cast<NodeId>(graph_.nodes.size()) - 1; id >= 0; --id) {
      const Node& node = graph_.node(id);
      if (node.section != Section::forward || !hears(node)) continue;
      for_each_way(node, [&](ValueId value) {
        if (graph_.at(value).kind != ValueKind::parameter) add(value, node.name);
      });
    }
    return all;
  }

  static bool reads(const Node& reader, const Node& source) {
    return std::any_of(source.results.begin(), source.results.end(), [&](ValueId result) {
      return result != none &&
             std::find(reader.operands.begin(), reader.operands.end(), result) != reader.operands.end();
    });
  }

  void obstacles(TermRoute& route) const {
    for (ValueId id : behind(graph_, term_.at))
      if (graph_.at(id).kind == ValueKind::parameter && !flows(id)) route.obstacles[graph_.at(id).name] = obstacle(id);
  }

  std::string obstacle(ValueId parameter) const {
    const Value& value = graph_.at(parameter);
    if (!value.trainable) return fmt::format("frozen: layer {}", value.layer);
    if (heard_.contains(parameter))
      return term_.skip.contains(value.layer) ? fmt::format("skip: layer {}", value.layer)
                                              : fmt::format("not in only: layer {}", value.layer);
    std::vector<std::string> names;
    for (ValueId cut : cuts_)
      if (behind(graph_, cut).contains(parameter)) names.push_back(cut_text(cut));
    if (names.empty()) return "the way leads only through operands that pass no gradient";
    return fmt::format("stops at {}", fmt::join(names, " and "));
  }

  const Graph& graph_;
  const LossTerm& term_;
  Routing routing_;
  std::size_t index_;
  Values heard_;
  std::vector<ValueId> cuts_;
  std::vector<GradientCut> ended_;
  std::vector<std::string> frozen_;
};

}  // namespace

TermRoute describe_route(const TrainingGraph& training, std::size_t term) { return Walk(training, term).result(); }

std::string what_is_in_the_way(const TrainingGraph& training, std::size_t term) {
  constexpr std::size_t most = 4;
  const TermRoute way = describe_route(training, term);
  std::vector<std::string> reasons;
  for (ValueId id : training.graph.parameters()) {
    const auto obstacle = way.obstacles.find(training.graph.at(id).name);
    if (obstacle == way.obstacles.end()) continue;
    if (std::find(reasons.begin(), reasons.end(), obstacle->second) == reasons.end())
      reasons.push_back(obstacle->second);
  }
  if (reasons.empty()) return "no layer with parameters is before its node";
  const std::size_t left = reasons.size() > most ? reasons.size() - most : 0;
  reasons.resize(reasons.size() - left);
  return fmt::format("{}{}", fmt::join(reasons, "; "), left > 0 ? fmt::format("; and {} more", left) : "");
}

Sweeps count_sweeps(const TrainingGraph& training) {
  const Routing routing = route(training);
  Sweeps sweeps;
  for (std::size_t value = 0; value < training.graph.values.size(); ++value) {
    std::vector<std::pair<int, std::vector<std::string>>> flows;
    for (std::size_t term = 0; term < training.terms.size(); ++term) {
      const int signature = routing.at(term, static_cast<ValueId>(value));
      if (signature == 0 ||
          !behind(training.graph, training.terms[term].prediction).contains(static_cast<ValueId>(value)))
        continue;
      auto flow = std::find_if(flows.begin(), flows.end(), [&](const auto& each) { return each.first == signature; });
      if (flow == flows.end()) flow = flows.insert(flow, {signature, {}});
      flow->second.push_back(training.terms[term].name);
    }
    sweeps.count = std::max(sweeps.count, flows.size());
    if (flows.size() < 2) continue;
    std::vector<std::string> groups;
    groups.reserve(flows.size());
    for (const auto& [signature, terms] : flows) groups.push_back(fmt::format("{}", fmt::join(terms, ", ")));
    sweeps.partings.emplace_back(training.graph.values[value].name, std::move(groups));
  }
  return sweeps;
}

}  // namespace weir
