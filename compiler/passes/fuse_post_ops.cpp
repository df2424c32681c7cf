// Before: linear value, then activation. After: one step, where the record of the producer allows it and nothing else
// reads the linear value.
//   %h:linear = dense(%x, …)   %h = relu(%h:linear)      becomes      %h = dense(%x, …) then relu
// Legal in training because such an activation's gradient reads its output and such a producer's gradient does not read
// its own result. After prune, so that readers which are not executed do not count. Optional.
#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

int readers(const TrainingGraph& training, ValueId value) {
  int count = 0;
  for (const Node& node : training.graph.nodes)
    if (node.live)
      for (ValueId operand : node.operands) count += operand == value ? 1 : 0;
  for (ValueId tap : training.taps) count += tap == value ? 1 : 0;
  return count;
}

}  // namespace

TrainingGraph fuse_post_ops(TrainingGraph training) {
  Graph& graph = training.graph;
  for (Node& activation : graph.nodes) {
    if (!activation.live || activation.section != Section::forward || activation.op->post_op.empty()) continue;
    const ValueId linear = activation.operands.front();
    if (graph.at(linear).producer == none) continue;
    Node& producer = graph.node(graph.at(linear).producer);
    if (!producer.live || !producer.op->accepts_post_op || producer.post_op || readers(training, linear) != 1) continue;
    producer.post_op = activation.op;
    producer.results.front() = activation.results.front();
    graph.at(activation.results.front()).producer = graph.at(linear).producer;
    activation.live = false;
  }
  return training;
}

}  // namespace weir
