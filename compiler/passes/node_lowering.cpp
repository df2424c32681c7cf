#include "compiler/passes/node_lowering.hpp"

#include <algorithm>

namespace weir {

std::string NodeLowering::operand_name(std::size_t index) const {
  const auto& operands = node_->op->operands;
  if (index + 1 < operands.size() || operands.back().kind != OperandKind::variadic)
    return std::string(operands.at(index).name);
  return std::string(operands.back().name) + "_" + std::to_string(index + 1 - operands.size());
}

LoweredType NodeLowering::result(std::string_view name) const {
  const Value& value = graph_.at(result_of(name));
  return {value.type.dtype, Shape{full_dims(value.type, batch_), value.axes, ""}};
}

ValueId NodeLowering::value_of(std::string_view name) const {
  const auto& results = node_->op->results;
  if (std::find(results.begin(), results.end(), name) != results.end() && !is_operand(name)) return result_of(name);
  const auto at = static_cast<std::size_t>(operand_index(*node_->op, name));
  return at < node_->operands.size() ? node_->operands[at] : none;
}

bool NodeLowering::is_operand(std::string_view name) const {
  return std::any_of(node_->op->operands.begin(), node_->op->operands.end(),
                     [&](const OperandDef& operand) { return operand.name == name; });
}

ValueId NodeLowering::result_of(std::string_view name) const {
  return node_->results.at(static_cast<std::size_t>(result_index(*node_->op, name)));
}

Shape NodeLowering::canonical(ValueId id) const {
  const Value& value = graph_.at(id);
  return {full_dims(value.type, batch_), value.axes, value.axes};
}

std::string NodeLowering::step_name() const {
  if (node_->section != Section::backward) return node_->name;
  const std::string_view op = node_->op->name;
  const auto dot = op.find('.');
  return node_->name + " " + std::string(dot == std::string_view::npos ? op : op.substr(dot + 1));
}

bool NodeLowering::stored(ValueId id) const {
  const ValueKind kind = graph_.at(id).kind;
  return kind == ValueKind::parameter || kind == ValueKind::statistic || kind == ValueKind::state;
}

bool NodeLowering::is_image(ValueId id) const {
  const Value& value = graph_.at(id);
  return value.kind == ValueKind::result && value.axes == "nhwc";
}

}  // namespace weir
