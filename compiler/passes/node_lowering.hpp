// What every LowerContext over a graph answers alike: names of operands and results, shapes. lower makes steps of what
// an op emits; assign_layouts only asks what it would emit.
#pragma once

#include <string>
#include <string_view>

#include "compiler/ir/op.hpp"

namespace weir {

class NodeLowering : public LowerContext {
 public:
  const Node& node() const override { return *node_; }
  std::int64_t batch() const override { return batch_; }
  std::size_t operand_count() const override { return node_->operands.size(); }
  bool has(std::string_view name) const override { return value_of(name) != none; }
  std::string operand_name(std::size_t index) const override;
  LoweredType result(std::string_view name) const override;

 protected:
  NodeLowering(const Graph& graph, std::int64_t batch) : graph_(graph), batch_(batch) {}

  /// An operand; or a result, which an earlier kernel of the same node wrote.
  ValueId value_of(std::string_view name) const;
  ValueId result_of(std::string_view name) const;
  Shape canonical(ValueId id) const;
  /// "conv_1", "conv_1 gradient_parameters"
  std::string step_name() const;
  /// Kept between steps.
  bool stored(ValueId id) const;
  /// Whether its layout is a choice: an image that a node makes.
  bool is_image(ValueId id) const;

  const Graph& graph_;
  const std::int64_t batch_;
  const Node* node_ = nullptr;

 private:
  bool is_operand(std::string_view name) const;
};

}  // namespace weir
