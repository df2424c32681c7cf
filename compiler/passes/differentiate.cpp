// Before: forward and loss nodes. After: backward nodes; training.gradients holds the gradient of each parameter that a
// trained term reaches.
//
// One reverse walk over the nodes. A trained term's node is seeded with its weight; a value's gradient is the sum of
// the contributions of its consumers, in reverse order of the consumers; each op is asked for the gradients of those
// operands alone behind which there is a trainable parameter, so no gradient of an input, of an excluded tail or of a
// frozen part ever exists. Before updates and fusion, while every op still means what the user wrote.
#include <map>

#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

class Differentiator {
 public:
  explicit Differentiator(TrainingGraph training) : training_(std::move(training)), graph_(training_.graph) {}

  TrainingGraph run() {
    mark_wanted();
    const NodeId last = static_cast<NodeId>(graph_.nodes.size()) - 1;
    for (NodeId node = last; node >= 0; --node) visit(node);
    for (ValueId id = 0; id < static_cast<ValueId>(wanted_.size()); ++id)
      if (graph_.at(id).kind == ValueKind::parameter && contributions_.contains(id))
        training_.gradients[id] = combine(id);
    return std::move(training_);
  }

 private:
  /// A value is wanted where a trainable parameter stands behind it.
  void mark_wanted() {
    wanted_.assign(graph_.values.size(), false);
    for (std::size_t id = 0; id < graph_.values.size(); ++id)
      wanted_[id] = graph_.values[id].kind == ValueKind::parameter && graph_.values[id].trainable;
    for (const Node& node : graph_.nodes) {
      bool any = false;
      for (std::size_t i = 0; i < node.operands.size(); ++i) any = any || differentiable(node, i);
      for (ValueId result : node.results)
        if (result != none) wanted_[static_cast<std::size_t>(result)] = any;
    }
  }

  bool differentiable(const Node& node, std::size_t index) const {
    const ValueId id = node.operands[index];
    if (id == none || static_cast<std::size_t>(id) >= wanted_.size() || !wanted_[static_cast<std::size_t>(id)])
      return false;
    const OperandKind kind = node.op->operands[std::min(index, node.op->operands.size() - 1)].kind;
    return kind == OperandKind::value || kind == OperandKind::variadic || kind == OperandKind::parameter;
  }

  void visit(NodeId id) {
    std::vector<ValueId> incoming = gradients_of_results(id);
    bool flows = false;
    for (ValueId gradient : incoming) flows = flows || gradient != none;
    if (!flows) return;
    std::vector<bool> wanted;
    bool any = false;
    const Node& node = graph_.node(id);
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      wanted.push_back(differentiable(node, i));
      any = any || wanted.back();
    }
    if (!any) return;
    WEIR_CHECK(node.op->gradient, node.name + ": " + std::string(node.op->name) + " has no gradient");
    GradientContext context(graph_, id, std::move(incoming), wanted);
    graph_.node(id).op->gradient(context);
    collect(id, wanted, context.results);
  }

  std::vector<ValueId> gradients_of_results(NodeId id) {
    if (graph_.node(id).section == Section::loss && graph_.node(id).op->role == Role::loss) {
      for (const LossTerm& term : training_.terms)
        if (term.node == id) return {term.weight};
      return {none};
    }
    const std::vector<ValueId> results = graph_.node(id).results;
    std::vector<ValueId> gradients;
    for (ValueId result : results) gradients.push_back(contributions_.contains(result) ? combine(result) : none);
    return gradients;
  }

  void collect(NodeId id, const std::vector<bool>& wanted, const std::vector<ValueId>& made) {
    for (std::size_t i = 0; i < made.size(); ++i) {
      const Node& node = graph_.node(id);
      WEIR_CHECK(made[i] != none || !wanted[i],
                 node.name + ": " + std::string(node.op->name) + " gave no gradient of operand " + std::to_string(i));
      if (wanted[i]) contributions_[node.operands[i]].push_back(made[i]);
    }
  }

  /// The sum of the contributions, made once.
  ValueId combine(ValueId of) {
    if (const auto found = combined_.find(of); found != combined_.end()) return found->second;
    const std::vector<ValueId>& terms = contributions_.at(of);
    const std::string name = "d." + graph_.at(of).name;
    ValueId sum = terms.front();
    if (terms.size() == 1) {
      rename(sum, name);
    } else {
      for (std::size_t i = 0; i < terms.size(); ++i) rename(terms[i], name + "." + std::to_string(i + 1));
      sum = add(of, name, terms);
    }
    return combined_[of] = sum;
  }

  ValueId add(ValueId of, const std::string& name, const std::vector<ValueId>& terms) {
    Node node{.op = &structural_op("add_gradients"), .name = graph_.at(of).name, .operands = terms};
    node.section = Section::backward;
    node.forward = graph_.at(of).producer;
    const ValueId sum = graph_.add_value({.name = name, .type = graph_.at(of).type, .axes = graph_.at(of).axes});
    node.results = {sum};
    graph_.add_node(std::move(node));
    return sum;
  }

  void rename(ValueId id, const std::string& name) {
    if (graph_.by_name.contains(name)) return;
    graph_.by_name.erase(graph_.at(id).name);
    graph_.at(id).name = name;
    graph_.by_name.emplace(name, id);
  }

  TrainingGraph training_;
  Graph& graph_;
  std::vector<bool> wanted_;
  std::map<ValueId, std::vector<ValueId>> contributions_;
  std::map<ValueId, ValueId> combined_;
};

}  // namespace

TrainingGraph differentiate(TrainingGraph training) { return Differentiator(std::move(training)).run(); }

}  // namespace weir
