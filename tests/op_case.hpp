// One example of an op's record as a whole little model, through the real passes: the op's operands are parameters, so
// that each of them gets a gradient; its result goes (once, or added to itself) into a mean squared error against a
// fixed target.
#pragma once

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"
#include "runtime/session.hpp"

namespace weir {

enum class Use { once, twice };

/// Distinct values of both signs, none near 0.
inline double default_fill(std::size_t operand, std::int64_t element) {
  const double value = static_cast<double>((element * 37 + static_cast<std::int64_t>(operand) * 11) % 41 - 20) / 13.0;
  return std::abs(value) < 0.05 ? 0.31 : value;
}

class OpCase {
 public:
  OpCase(const OpDef& op, const Example& example, Use use) : op_(op), example_(example) {
    training_.graph.name = std::string(op.name);
    add_operands();
    if (op.role == Role::loss || op.role == Role::metric || op.role == Role::regularizer)
      add_measure_node();
    else
      add_layer(use);
    if (differentiable()) training_ = differentiate(std::move(training_));
    if (!result_.empty()) training_.taps = {training_.graph.find(result_)};
    training_ = prune(std::move(training_));
    verify(training_);
  }

  /// A training graph with its loss attached already, and the values of its parameters and inputs.
  OpCase(const OpDef& op, const Example& example, TrainingGraph training, std::map<std::string, Array> values)
      : op_(op), example_(example), training_(std::move(training)), values_(std::move(values)) {
    training_ = prune(differentiate(std::move(training_)));
    verify(training_);
  }

  bool differentiable() const {
    const bool runs_so = example_.training || op_.frozen_is_evaluation || op_.identity_in_evaluation;
    return !op_.no_gradient && op_.role != Role::metric && runs_so && !training_.terms.empty();
  }
  const TrainingGraph& training() const { return training_; }
  std::int64_t batch() const { return example_.batch; }
  double tolerance() const { return example_.tolerance; }
  const std::string& result() const { return result_; }

  /// Names of all values that hold numbers from outside, with their numbers.
  const std::map<std::string, Array>& values() const { return values_; }

  Interpreter interpreter() const { return interpreter(training_); }
  /// The loss alone: without the backward nodes.
  Interpreter forward_interpreter() const {
    TrainingGraph forward = training_;
    for (Node& node : forward.graph.nodes) node.live = node.live && node.section != Section::backward;
    return interpreter(std::move(forward));
  }

  /// The plan for a target, with the operands as parameters.
  std::shared_ptr<const Plan> plan(const Target& target) const {
    auto plan = std::make_shared<Plan>();
    plan->model = training_.graph.name;
    plan->fingerprint = target.fingerprint();
    plan->scalars = {{"learning_rate", 0}, {"step", 1}, {"rows", 0}, {"seed", 5}};
    for (const Value& value : training_.graph.values) {
      if (value.kind == ValueKind::input) plan->inputs.push_back(value.name);
      if (value.kind != ValueKind::parameter && value.kind != ValueKind::statistic) continue;
      const Dims dims = full_dims(value.type, example_.batch);
      plan->store.push_back({value.name, BufferClass::parameter, DType::f32, {dims, value.axes, value.axes}, 0});
      plan->parameters.push_back({value.name, dims, false, false, {}, static_cast<int>(plan->store.size()) - 1, {}});
    }
    HomeShapes homes;
    const LoweredGraph lowered = lower(training_, target, example_.batch, homes);
    verify(lowered);
    emit_program(*plan, ProgramKind::train, training_, lowered);
    finish_store(*plan, homes);
    return plan;
  }

  Session session(const Target& target) const {
    Session session(plan(target), {.seed = 5, .initialize = false, .poison = true});
    for (const auto& [name, array] : values_)
      if (training_.graph.at(training_.graph.find(name)).kind != ValueKind::input)
        session.set_parameter(name, as_tensor(array, DType::f32));
    return session;
  }

  /// The inputs as tensors; keep them while the feed is used.
  std::map<std::string, Tensor> inputs() const {
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, array] : values_) {
      const Value& value = training_.graph.at(training_.graph.find(name));
      if (value.kind == ValueKind::input) tensors.emplace(name, as_tensor(array, value.type.dtype));
    }
    return tensors;
  }

  static Tensor as_tensor(const Array& array, DType dtype) {
    Tensor tensor(dtype, array.dims);
    for (std::int64_t i = 0; i < array.count(); ++i) {
      if (dtype == DType::i32)
        tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(array[i]);
      else
        tensor.data<float>()[i] = static_cast<float>(array[i]);
    }
    return tensor;
  }

 private:
  Interpreter interpreter(TrainingGraph training) const {
    Interpreter run(std::move(training), example_.batch);
    for (const auto& [name, array] : values_) run.set(name, array);
    if (training_.graph.find_scalar("seed") != none) run.set_scalar("seed", 5);
    return run;
  }

  double fill(std::size_t operand, std::int64_t element) const {
    const double value = example_.fill ? example_.fill(operand, element) : default_fill(operand, element);
    return static_cast<double>(static_cast<float>(value));
  }

  ValueId add_value(const std::string& name, ValueKind kind, const TensorType type, std::size_t operand) {
    Value value{.name = name, .kind = kind, .type = type};
    value.axes = type.batched ? activation_axes(type.dims.size()) : std::string("opqrst").substr(0, type.dims.size());
    const ValueId id = training_.graph.add_value(std::move(value));
    if (kind == ValueKind::scalar) return id;
    Array array(full_dims(type, example_.batch));
    for (std::int64_t i = 0; i < array.count(); ++i)
      array[i] = type.dtype == DType::i32 && !example_.fill ? static_cast<double>(i % 3) : fill(operand, i);
    values_.emplace(name, std::move(array));
    return id;
  }

  void add_operands() {
    for (std::size_t i = 0; i < example_.inputs.size(); ++i) {
      const bool target = i < op_.operands.size() && op_.operands[i].kind == OperandKind::target;
      const bool held = target != example_.attributes.has("target_gradient");  // of the two sides, one is examined
      const bool input = held || example_.inputs[i].dtype == DType::i32;
      operands_.push_back(
          add_value("x" + std::to_string(i), input ? ValueKind::input : ValueKind::parameter, example_.inputs[i], i));
    }
  }

  ValueId scalar(const std::string& name) {
    const ValueId found = training_.graph.find_scalar(name);
    return found != none ? found : add_value(name, ValueKind::scalar, scalar_type(), 0);
  }

  Node node_of(const OpDef& op, Attributes attributes, Section section) {
    Node node{.op = &op, .name = std::string(op.name), .attributes = with_defaults(op, std::move(attributes))};
    node.section = section;
    node.training = example_.training;
    return node;
  }

  void add_layer(Use use) {
    Graph& graph = training_.graph;
    for (ValueId& operand : operands_)
      if (graph.at(operand).type.dtype == DType::f32) operand = passed_on(operand);
    Node node = node_of(op_, example_.attributes, Section::forward);
    node.operands = operands_;
    for (const OperandDef& operand : op_.operands)
      if (operand.kind == OperandKind::scalar)
        node.operands.push_back(find_attribute(op_, operand.name) ? none : scalar(std::string(operand.name)));
    InferContext context(graph, node);
    op_.infer(context);
    for (const ParameterDeclaration& declared : context.parameters) {
      const auto at = static_cast<std::size_t>(operand_index(op_, declared.name));
      if (node.operands.size() <= at) node.operands.resize(at + 1, none);
      node.operands[at] = add_value(declared.name, declared.statistic ? ValueKind::statistic : ValueKind::parameter,
                                    unbatched(declared.dims), at + 7);
      graph.at(node.operands[at]).axes = declared.axes;
      if (declared.name.find("variance") != std::string::npos)
        for (double& value : values_.at(declared.name).data) value = std::abs(value) + 0.5;
    }
    for (std::size_t i = 0; i < context.results.size(); ++i) {
      Value value{.name = std::string(op_.results[i]), .type = context.results[i]};
      value.axes = value.type.batched ? activation_axes(value.type.dims.size()) : "o";
      node.results.push_back(graph.add_value(std::move(value)));
    }
    const ValueId output = node.results.front();
    graph.add_node(std::move(node));
    result_ = graph.at(output).name;
    if (graph.at(output).type.dtype == DType::f32) add_error(use == Use::twice ? doubled(output) : output);
  }

  /// A layer reads activations, never a parameter itself.
  ValueId passed_on(ValueId parameter) {
    Graph& graph = training_.graph;
    Node node = node_of(*find_op("rescaling"), {{"scale", 1.0}, {"offset", 0.0}}, Section::forward);
    node.operands = {parameter};
    node.results = {graph.add_value({.name = graph.at(parameter).name + "_read",
                                     .type = graph.at(parameter).type,
                                     .axes = graph.at(parameter).axes})};
    const ValueId read = node.results.front();
    graph.add_node(std::move(node));
    return read;
  }

  ValueId doubled(ValueId output) {
    Graph& graph = training_.graph;
    Node node = node_of(*find_op("add"), {}, Section::forward);
    node.operands = {output, output};
    node.results = {graph.add_value({.name = "doubled", .type = graph.at(output).type, .axes = graph.at(output).axes})};
    const ValueId sum = node.results.front();
    graph.add_node(std::move(node));
    return sum;
  }

  void add_error(ValueId prediction) {
    Node node = node_of(*find_op("mean_squared_error"), {}, Section::loss);
    node.operands = {prediction, add_value("target", ValueKind::input, training_.graph.at(prediction).type, 5),
                     scalar("rows")};
    add_term(std::move(node), prediction, 3.0);
  }

  void add_measure_node() {
    Node node = node_of(op_, example_.attributes, Section::loss);
    node.operands = operands_;
    if (!op_.no_target && operands_.size() == 1) node.operands.push_back(none);
    node.operands.push_back(scalar("rows"));
    InferContext context(training_.graph, node);
    op_.infer(context);
    add_term(std::move(node), operands_.front(), 0.7);
  }

  void add_term(Node node, ValueId prediction, double weight) {
    Graph& graph = training_.graph;
    const ValueId value = graph.add_value({.name = "loss.error", .type = scalar_type()});
    node.results = {value};
    LossTerm term{.name = "error"};
    term.at = term.prediction = prediction;
    term.value = value;
    term.weight = scalar("weight.error");
    term.constant_weight = term.given_weight = weight;
    term.node = graph.add_node(std::move(node));
    training_.terms.push_back(std::move(term));
  }

  const OpDef& op_;
  const Example& example_;
  TrainingGraph training_;
  std::vector<ValueId> operands_;
  std::map<std::string, Array> values_;
  std::string result_;
};

}  // namespace weir
