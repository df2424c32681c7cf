#include "compiler/ir/graph.hpp"

#include <algorithm>

#include "compiler/ir/op.hpp"
#include "runtime/error.hpp"

namespace weir {

ValueId Graph::add_value(Value value) {
  auto& names = value.kind == ValueKind::scalar ? scalar_ids : by_name;
  if (names.contains(value.name)) {
    int number = 2;
    while (names.contains(value.name + "." + std::to_string(number))) ++number;
    value.name += "." + std::to_string(number);
  }
  const ValueId id = static_cast<ValueId>(values.size());
  names.emplace(value.name, id);
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

ValueId Graph::find_scalar(std::string_view name) const {
  const auto found = scalar_ids.find(name);
  return found == scalar_ids.end() ? none : found->second;
}

ValueId Graph::scalar(std::string_view name) {
  if (const ValueId found = find_scalar(name); found != none) return found;
  return add_value({.name = std::string(name), .kind = ValueKind::scalar, .type = scalar_type()});
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
