#include "compiler/passes/weigh.hpp"

#include "runtime/error.hpp"

namespace weir {
namespace {

ValueId operand_of(const Node& node, std::string_view name) {
  const auto index = static_cast<std::size_t>(operand_index(*node.op, name));
  return index < node.operands.size() ? node.operands[index] : none;
}

/// Extents of the unreduced loss, of one sample.
Dims unreduced(const Graph& graph, const Node& measure) {
  Dims dims = graph.at(measure.operands.front()).type.dims;
  if (!measure.op->entry_each && !dims.empty()) dims.pop_back();
  return dims;
}

/// In profile pytorch, a mean with class weights divides by their sum.
std::string denominator_word(const Node& measure, bool metric) {
  if (metric) return "weights";
  const std::string& reduction = measure.attributes.word("reduction");
  if (reduction == "sum") return "one";
  if (reduction == "batch_mean") return "rows";
  if (reduction == "mean_with_sample_weight") return "sample_weights";
  const bool of_classes = measure.op->class_target || measure.op->integer_target;
  const bool by_classes = of_classes && measure.attributes.has("class_weight") && is_pytorch(measure.attributes);
  return by_classes ? "class_weights" : "entries";
}

/// The losses that know rows of classes have as many classes as their node; the others compare one unit with 0 or 1.
void check_classes(const Graph& graph, const Node& measure, const InferContext& context) {
  if (!measure.attributes.has("class_weight")) return;
  const TensorType& prediction = graph.at(measure.operands.front()).type;
  const std::size_t count = measure.attributes.numbers("class_weight").size();
  const bool rows = measure.op->class_target || measure.op->integer_target;
  if (!rows && (prediction.dims.empty() || prediction.dims.back() != 1))
    context.fail(0, "class_weight needs a node of one unit, but the prediction is " + to_string(prediction));
  const auto classes = rows ? static_cast<std::size_t>(prediction.dims.back()) : 2;
  if (count != classes)
    context.fail(0, "class_weight has " + std::to_string(count) + " numbers, but the prediction is " +
                        to_string(prediction) + ", which has " + std::to_string(classes) + " classes");
}

Node weights_node(Graph& graph, const TermSpec& term, const Node& measure, bool metric) {
  Node node{.op = &structural_op("entry_weights"), .name = measure.name};
  node.section = measure.section;
  node.training = measure.training;
  node.place = measure.place;
  node.attributes = {{"entries", unreduced(graph, measure)}, {"divide_by", denominator_word(measure, metric)}};
  bool classes = false;
  for (const auto& [key, value] : measure.attributes)
    if (key == "class_weight" || key == "ignore_class") node.attributes.set(key, value), classes = true;
  const ValueId target = classes ? operand_of(measure, "target") : none;
  if (target != none && measure.op->class_target && !measure.attributes.has("one_hot"))
    node.attributes.set("argmax", true);
  node.operands = {target, term.sample_weight ? graph.find(term.sample_weight->value) : none,
                   term.mask ? graph.find(term.mask->value) : none, operand_of(measure, "rows")};
  return node;
}

}  // namespace

bool is_weighted(const TermSpec& term) {
  return term.sample_weight || term.mask || term.attributes.has("class_weight") || term.attributes.has("ignore_class");
}

void add_entry_weights(Graph& graph, const TermSpec& term, Node& measure, bool metric) {
  Node node = weights_node(graph, term, measure, metric);
  InferContext context(graph, node);
  check_classes(graph, measure, context);
  node.op->infer(context);
  const std::string owner = (metric ? "metric." : "loss.") + term.name;
  for (std::size_t i = 0; i < context.results.size(); ++i) {
    Value value{.name = std::string(node.op->results[i]) + "." + owner, .type = context.results[i]};
    if (value.type.batched) value.axes = activation_axes(value.type.dims.size());
    node.results.push_back(graph.add_value(std::move(value)));
  }
  const auto first = static_cast<std::size_t>(operand_index(*measure.op, "entry_weights"));
  WEIR_CHECK(first == measure.operands.size(), measure.name + " has operands behind its weights");
  measure.operands.insert(measure.operands.end(), node.results.begin(), node.results.end());
  measure.attributes.erase("class_weight");
  measure.attributes.erase("ignore_class");
  graph.add_node(std::move(node));
}

}  // namespace weir
