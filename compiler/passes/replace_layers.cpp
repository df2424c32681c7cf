// Before: layers as the user wrote them. After: where a layer's record knows an op that gives the same result with less
// work, because of what stands before the layer, that op stands in its place.
//   %u = up_sampling2d(%x)   %y = conv2d(%u, kernel, bias)      becomes      %y = enlarged_conv2d(%x, kernel, bias)
// What the layer no longer reads stays for other readers; prune takes it where there are none. Legal because the new op
// is linear in the same parameters and reads values that the old one's reader chain read, and a chain is only shortened
// where no term's gradient ends on it. Before differentiate, so that the gradient is the new op's own; after
// attach_losses, which says where gradients end. Optional: results differ by rounding.
#include "compiler/ir/op.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

void replace(Graph& graph, NodeId id, Instead instead) {
  Node node = graph.node(id);
  node.op = instead.op;
  node.operands = std::move(instead.operands);
  node.attributes = std::move(instead.attributes);
  node.results.resize(1);
  InferContext context(graph, node);
  node.op->infer(context);
  for (std::size_t i = 1; i < context.results.size(); ++i) {
    const TensorType& type = context.results[i];
    node.results.push_back(graph.add_value(
        {.name = node.name + "." + std::string(node.op->results[i]),
         .type = type,
         .axes = type.batched ? activation_axes(type.dims.size()) : std::string("opqrst").substr(0, type.dims.size()),
         .producer = id}));
  }
  graph.node(id) = std::move(node);
}

}  // namespace

TrainingGraph replace_layers(TrainingGraph training) {
  for (NodeId id = 0; id < static_cast<NodeId>(training.graph.nodes.size()); ++id) {
    const Node& node = training.graph.node(id);
    if (!node.live || node.section != Section::forward || !node.op->instead) continue;
    if (std::optional<Instead> instead = node.op->instead(InsteadContext(training, id)))
      replace(training.graph, id, std::move(*instead));
  }
  return training;
}

}  // namespace weir
