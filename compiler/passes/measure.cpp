#include "compiler/passes/measure.hpp"

#include "compiler/passes/weigh.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

/// The target as one-hot rows for an op that does not read classes; one node an input and class count.
ValueId one_hot_of(Graph& graph, ValueId classes, std::int64_t count, Section section, bool training) {
  const std::string name = graph.at(classes).name + ":one_hot." + std::to_string(count);
  const ValueId found = graph.find(name);
  if (found != none && (graph.node(graph.at(found).producer).section == Section::loss || section == Section::watch))
    return found;
  Node node{.op = &structural_op("one_hot"),
            .name = graph.at(classes).name,
            .operands = {classes},
            .attributes = {{"one_hot", count}}};
  node.section = section;
  node.training = training;
  InferContext context(graph, node);
  node.op->infer(context);
  Value value{.name = name, .type = context.results.at(0)};
  value.axes = activation_axes(value.type.dims.size());
  node.results = {graph.add_value(std::move(value))};
  const ValueId made = node.results.front();
  graph.add_node(std::move(node));
  return made;
}

ValueId with_axis_last(Graph& graph, ValueId value, std::int64_t axis, const Node& measure, std::string name) {
  Node node{.op = &structural_op("move_axis"), .name = measure.name, .operands = {value}};
  node.attributes = with_defaults(*node.op, {{"axis", axis}});
  node.section = measure.section;
  node.training = measure.training;
  InferContext context(graph, node);
  node.op->infer(context);
  Value moved{.name = std::move(name), .type = context.results.at(0)};
  moved.axes = activation_axes(moved.type.dims.size());
  node.results = {graph.add_value(std::move(moved))};
  const ValueId result = node.results.front();
  graph.add_node(std::move(node));
  return result;
}

/// A loss along another axis than the last reads its operands with that axis last; whatever reads them behind it, the
/// entry weights too, knows rows alone. What does not fit stays as it is, for the op to refuse.
void put_class_axis_last(Graph& graph, Node& measure, const std::string& owner) {
  if (!measure.attributes.has("axis")) return;
  const std::int64_t axis = measure.attributes.integer("axis");
  const TensorType prediction = graph.at(measure.operands.front()).type;
  if (axis == -1 || axis < -static_cast<std::int64_t>(prediction.dims.size())) return;
  measure.attributes.set("axis", std::int64_t{-1});
  ValueId& target = measure.operands.at(1);
  const bool of_classes = measure.op->integer_target || measure.attributes.has("one_hot");
  if (target != none && !of_classes) {
    if (graph.at(target).type.dims != prediction.dims) return;
    target = with_axis_last(graph, target, axis, measure, "target." + owner);
  }
  measure.operands[0] = with_axis_last(graph, measure.operands[0], axis, measure, "prediction." + owner);
}

ValueId target_of(Graph& graph, const TermSpec& term, Node& node) {
  switch (term.target.kind) {
    case TargetSpec::Kind::none:
      return none;
    case TargetSpec::Kind::constant:
      node.attributes.set("constant", term.target.constant);
      return none;
    default:
      break;
  }
  if (term.target.gradient) node.attributes.set("target_gradient", true);
  const ValueId target = graph.find(term.target.name);
  if (target == none || term.target.one_hot == 0) return target;
  if (!term.op->class_target) return one_hot_of(graph, target, term.target.one_hot, node.section, node.training);
  node.attributes.set("one_hot", term.target.one_hot);
  return target;
}

}  // namespace

/// A cut at the term's own node also holds where the loss reads the logits behind it.
void set_routing(const Graph& graph, const TermSpec& spec, LossTerm& term) {
  for (const auto& node : spec.stop_at)
    if (const ValueId value = graph.find(node.value); value != none) term.stop_at.insert(value);
  if (term.stop_at.contains(term.at)) term.stop_at.insert(term.prediction);
  for (const auto& layer : spec.skip) term.skip.insert(layer.value);
  for (const auto& layer : spec.only) term.only.insert(layer.value);
}

std::string excluded_by(const LossSpec& loss, const TermSpec& term) {
  const std::string layer = term.at.value.substr(0, term.at.value.find(':'));
  for (const auto& entry : loss.exclude)
    if (entry.value == term.name || entry.value == term.at.value || entry.value == layer) return entry.value;
  return "";
}

Measure locate(const Graph& graph, const TermSpec& term) {
  Measure measure;
  measure.at = measure.prediction = graph.find(term.at.value);
  if (measure.at == none || term.op->logits_behind.empty() || term.from_logits) return measure;
  const NodeId producer = graph.at(measure.at).producer;
  if (producer != none && graph.node(producer).op->name == term.op->logits_behind)
    measure.prediction = graph.node(producer).operands.front();
  return measure;
}

Measure add_measure(Graph& graph, const TermSpec& term, std::string name, Section section, bool training,
                    Diagnostics& diagnostics) {
  Measure measure = locate(graph, term);
  if (measure.at == none) return measure;  // behind a layer that was already reported
  Node node{.op = term.op, .name = term.name, .attributes = term.attributes};
  node.section = section;
  node.training = training;
  node.place = term.place;
  if (!term.op->logits_behind.empty())
    node.attributes.set("from_logits", measure.prediction != measure.at || term.from_logits.value_or(false));
  const ValueId target = target_of(graph, term, node);
  if (target == none && (term.target.kind == TargetSpec::Kind::node || term.target.kind == TargetSpec::Kind::input))
    return measure;
  node.operands = {measure.prediction};
  if (!term.op->no_target) node.operands.push_back(target);
  node.operands.push_back(graph.scalar("rows"));
  try {
    put_class_axis_last(graph, node, name);
    InferContext context(graph, node);
    term.op->infer(context);
    if (is_weighted(term)) add_entry_weights(graph, term, node, name.starts_with("metric."));
  } catch (const InferFailure& failure) {
    Diagnostic& diagnostic = diagnostics.error(
        "E0312", term.place, "\"" + term.name + "\" at \"" + term.at.value + "\": " + failure.message);
    if (target != none && term.target.one_hot == 0 && graph.at(target).type.dtype == DType::i32 &&
        !term.op->integer_target)
      diagnostic.help = "\"" + term.target.name + "\" holds classes (i32); add \"one_hot\": C to the target";
    return measure;
  }
  measure.value = graph.add_value({.name = std::move(name), .type = scalar_type()});
  node.results = {measure.value};
  measure.node = graph.add_node(std::move(node));
  return measure;
}

}  // namespace weir
