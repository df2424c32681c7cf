// Before: forward and loss nodes. After: backward nodes; training.gradients holds the gradient of each parameter that a
// trained term reaches.
//
// One reverse walk over the nodes. A trained term's node is seeded with its weight; a value's gradient is the sum of
// the contributions of its consumers, in reverse order of the consumers; each op is asked for the gradients of those
// operands alone behind which something hears a term, so no gradient of an input, of an excluded tail or of a frozen
// part ever exists. Terms share the gradient of a value exactly where their routings leave the same subgraph behind it
// (routing.hpp); elsewhere it exists once for each routing. Before updates and fusion, while every op still means what
// the user wrote.
#include <algorithm>
#include <compare>
#include <map>

#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/passes/routing.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

/// The gradient of a value as far as one routing is concerned.
struct Key {
  ValueId value;
  int signature;
  auto operator<=>(const Key&) const = default;
};

class Differentiator {
 public:
  explicit Differentiator(TrainingGraph training)
      : training_(std::move(training)),
        graph_(training_.graph),
        routing_(route(training_)),
        open_(graph_.values.size()) {}

  TrainingGraph run() {
    const std::vector<ValueId> parameters = graph_.parameters();
    for (NodeId node = static_cast<NodeId>(graph_.nodes.size()) - 1; node >= 0; --node) visit(node);
    for (ValueId id : parameters)
      if (!open(id).empty()) training_.gradients[id] = combine({id, open(id).front()});
    return std::move(training_);
  }

 private:
  /// Signatures under which a value has contributions, in the order of the first one.
  const std::vector<int>& open(ValueId value) const { return open_[static_cast<std::size_t>(value)]; }

  void visit(NodeId id) {
    for (std::size_t term = 0; term < training_.terms.size(); ++term)
      if (training_.terms[term].node == id) {
        if (training_.terms[term].role == TermRole::trained) seed(id, term);
        return;
      }
    std::vector<int> signatures;
    for (ValueId result : graph_.node(id).results)
      if (result != none)
        for (int signature : open(result))
          if (std::find(signatures.begin(), signatures.end(), signature) == signatures.end())
            signatures.push_back(signature);
    for (int signature : signatures) pass_on(id, signature);
  }

  void seed(NodeId id, std::size_t term) {
    std::vector<int> operands;
    for (std::size_t i = 0; i < graph_.node(id).operands.size(); ++i)
      operands.push_back(is_differentiable(graph_.node(id), i) ? routing_.at(term, graph_.node(id).operands[i]) : 0);
    ask(id, {training_.terms[term].weight}, operands);
  }

  void pass_on(NodeId id, int signature) {
    const std::vector<ValueId> results = graph_.node(id).results;
    std::vector<ValueId> gradients;
    for (ValueId result : results) {
      const bool flows = result != none && contributions_.contains({result, signature});
      gradients.push_back(flows ? combine({result, signature}) : none);
    }
    ask(id, std::move(gradients), routing_.flows[static_cast<std::size_t>(signature)].operands);
  }

  void ask(NodeId id, std::vector<ValueId> gradients, const std::vector<int>& signatures) {
    std::vector<bool> wanted;
    bool any = false;
    for (int signature : signatures) {
      wanted.push_back(signature != 0);
      any = any || signature != 0;
    }
    if (!any) return;
    const Node& node = graph_.node(id);
    WEIR_CHECK(node.op->gradient, node.name + ": " + std::string(node.op->name) + " has no gradient");
    GradientContext context(graph_, id, std::move(gradients), wanted);
    node.op->gradient(context);
    collect(id, signatures, context.results);
  }

  void collect(NodeId id, const std::vector<int>& signatures, const std::vector<ValueId>& made) {
    for (std::size_t i = 0; i < made.size(); ++i) {
      if (signatures[i] == 0) continue;
      const Node& node = graph_.node(id);
      WEIR_CHECK(made[i] != none,
                 node.name + ": " + std::string(node.op->name) + " gave no gradient of operand " + std::to_string(i));
      const Key key{node.operands[i], signatures[i]};
      if (!contributions_.contains(key)) open_[static_cast<std::size_t>(key.value)].push_back(key.signature);
      contributions_[key].push_back(made[i]);
    }
  }

  /// "d.x"; where terms part ways at x, "d.x(final)" with the terms that this one is for.
  std::string name_of(const Key& key) const {
    std::string terms;
    bool all = true;
    for (std::size_t term = 0; term < training_.terms.size(); ++term) {
      const int signature = routing_.at(term, key.value);
      if (signature == key.signature)
        terms += (terms.empty() ? "" : ",") + training_.terms[term].name;
      else if (signature != 0)
        all = false;
    }
    return "d." + graph_.at(key.value).name + (all ? "" : "(" + terms + ")");
  }

  /// The sum of the contributions, made once.
  ValueId combine(const Key& key) {
    if (const auto found = combined_.find(key); found != combined_.end()) return found->second;
    const std::vector<ValueId>& terms = contributions_.at(key);
    const std::string name = name_of(key);
    ValueId sum = terms.front();
    if (terms.size() == 1) {
      rename(sum, name);
    } else {
      for (std::size_t i = 0; i < terms.size(); ++i) rename(terms[i], name + "." + std::to_string(i + 1));
      sum = add(key.value, name, terms);
    }
    return combined_[key] = sum;
  }

  /// From the first to the last; the op takes a limited number at a time.
  ValueId add(ValueId of, const std::string& name, const std::vector<ValueId>& terms) {
    constexpr std::size_t most = 26;
    std::vector<ValueId> head(terms.begin(), terms.begin() + static_cast<std::ptrdiff_t>(std::min(most, terms.size())));
    ValueId sum = add_node(of, terms.size() > most ? name + ".sum" : name, head);
    for (std::size_t next = head.size(); next < terms.size(); next += most - 1) {
      const std::size_t end = std::min(next + most - 1, terms.size());
      head = {sum};
      head.insert(head.end(), terms.begin() + static_cast<std::ptrdiff_t>(next),
                  terms.begin() + static_cast<std::ptrdiff_t>(end));
      sum = add_node(of, end < terms.size() ? name + ".sum" : name, head);
    }
    return sum;
  }

  ValueId add_node(ValueId of, const std::string& name, const std::vector<ValueId>& terms) {
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
  Routing routing_;
  std::vector<std::vector<int>> open_;  ///< by value
  std::map<Key, std::vector<ValueId>> contributions_;
  std::map<Key, ValueId> combined_;
};

}  // namespace

TrainingGraph differentiate(TrainingGraph training) { return Differentiator(std::move(training)).run(); }

}  // namespace weir
