#include "compiler/ir/graph.hpp"

#include <algorithm>

#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"

namespace weir {

ValueId Graph::add_value(Value value) {
  if (by_name.contains(value.name)) {
    int number = 2;
    while (by_name.contains(value.name + "." + std::to_string(number))) ++number;
    value.name += "." + std::to_string(number);
  }
  const ValueId id = static_cast<ValueId>(values.size());
  by_name.emplace(value.name, id);
  values.push_back(std::move(value));
  return id;
}

NodeId Graph::add_node(Node added) {
  const NodeId id = static_cast<NodeId>(nodes.size());
  for (ValueId result : added.results)
    if (result != none) at(result).producer = id;
  nodes.push_back(std::move(added));
  return id;
}

ValueId Graph::find(std::string_view name_of_value) const {
  const auto found = by_name.find(name_of_value);
  return found == by_name.end() ? none : found->second;
}

std::vector<ValueId> Graph::parameters() const {
  std::map<std::string_view, NodeId> owners;
  for (NodeId id = 0; id < static_cast<NodeId>(nodes.size()); ++id)
    if (node(id).section == Section::forward) owners.emplace(node(id).name, id);
  const auto position = [&](ValueId id) {
    const auto owner = owners.find(at(id).layer);
    return owner == owners.end() ? static_cast<NodeId>(nodes.size()) : owner->second;
  };
  std::vector<ValueId> ids;
  for (ValueId id = 0; id < static_cast<ValueId>(values.size()); ++id)
    if (at(id).kind == ValueKind::parameter || at(id).kind == ValueKind::statistic) ids.push_back(id);
  std::stable_sort(ids.begin(), ids.end(), [&](ValueId a, ValueId b) { return position(a) < position(b); });
  return ids;
}

}  // namespace weir
