#include "compiler/ir/graph.hpp"

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

}  // namespace weir
