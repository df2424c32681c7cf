// A case of tests/reference/losses.json as a term of a loss, through the real passes: its prediction is a parameter,
// and so is a target that learns.
#pragma once

#include <map>
#include <string>

#include "compiler/passes/measure.hpp"
#include "tests/op_case.hpp"
#include "tests/recorded_case.hpp"

namespace weir {

enum class Learner { prediction, target };

class RecordedTerm {
 public:
  /// group, one of its cases: operands and attributes of both.
  RecordedTerm(const nlohmann::json& group, const nlohmann::json& recorded, Learner learner = Learner::prediction)
      : learner_(learner) {
    term_.name = "error";
    term_.op = find_op(group.at("op").get<std::string>());
    term_.at = {"prediction", {}};
    read_attributes(group.at("attributes"), recorded.at("attributes"));
    for (const nlohmann::json* one : {&group, &recorded})
      for (const char* name : {"prediction", "target", "sample_weight", "mask"})
        if (one->contains(name)) add(name, one->at(name));
    example_.batch = values_.at("prediction").dims.at(0);
    if (term_.op->no_target) add_zeros();
  }

  /// Numbers of an operand, before `model`.
  Array& operand(const std::string& name) { return values_.at(name); }
  bool has(const std::string& name) const { return values_.contains(name); }
  void set_mask(double everywhere) {
    const bool each = term_.op->entry_each || values_.at("prediction").dims.size() == 1;
    Array mask(values_.at("prediction").dims);
    if (!each) mask = Array(Dims(mask.dims.begin(), mask.dims.end() - 1));
    for (double& value : mask.data) value = everywhere;
    add("mask", DType::f32, std::move(mask));
  }

  OpCase model() {
    Diagnostics diagnostics;
    const Measure measure = add_measure(training_.graph, term_, "loss.error", Section::loss, true, diagnostics);
    INFO(diagnostics.to_text());
    REQUIRE(measure.node != none);
    LossTerm term{.name = "error"};
    term.at = term.prediction = measure.at;
    term.value = measure.value;
    term.node = measure.node;
    term.weight = training_.graph.add_value({.name = "weight.error", .kind = ValueKind::scalar, .type = scalar_type()});
    training_.terms.push_back(std::move(term));
    return OpCase(*term_.op, example_, std::move(training_), values_);
  }

 private:
  void read_attributes(const nlohmann::json& of_group, const nlohmann::json& of_case) {
    nlohmann::json all = of_group;
    all.update(of_case);
    Attributes given;
    std::string numerics = "keras";
    for (const auto& [name, value] : all.items()) {
      if (name == "from_logits")
        term_.from_logits = value.get<bool>();
      else if (name == "numerics")
        numerics = value.get<std::string>();
      else if (name == "class_weight")
        given.set(name, value.get<std::vector<double>>());
      else if (name == "ignore_class" || name == "axis")
        given.set(name, value.get<std::int64_t>());
      else if (value.is_boolean())
        given.set(name, value.get<bool>());
      else if (value.is_string())
        given.set(name, value.get<std::string>());
      else
        given.set(name, value.get<double>());
    }
    term_.attributes = with_defaults(*term_.op, std::move(given), numerics);
    if (numerics == "pytorch") term_.attributes.set("numerics", numerics);
  }

  void add(const std::string& name, const nlohmann::json& tensor) {
    const bool integers = tensor.value("dtype", "f32") == "i32";
    add(name, integers ? DType::i32 : DType::f32, recorded_array(tensor));
  }
  void add(const std::string& name, DType dtype, Array array) {
    const TensorType type = batched(Dims(array.dims.begin() + 1, array.dims.end()), dtype);
    const bool learns = learner_ == Learner::target, parameter = name == (learns ? "target" : "prediction");
    Value value{.name = name, .kind = parameter ? ValueKind::parameter : ValueKind::input, .type = type};
    value.axes = activation_axes(type.dims.size());
    training_.graph.add_value(std::move(value));
    values_.insert_or_assign(name, std::move(array));
    if (name == "sample_weight") term_.sample_weight = Located<std::string>{name, {}};
    if (name == "mask") term_.mask = Located<std::string>{name, {}};
    if (name != "target") return;
    term_.target.kind = learns ? TargetSpec::Kind::node : TargetSpec::Kind::input;
    term_.target.name = name;
    term_.target.gradient = learns;
  }

  /// A batch needs an input: the prediction becomes the sum of its parameter with zeros.
  void add_zeros() {
    Graph& graph = training_.graph;
    const Array& prediction = values_.at("prediction");
    add("zeros", DType::f32, Array(prediction.dims));
    Node node{.op = find_op("add"), .name = "sum"};
    node.operands = {graph.find("prediction"), graph.find("zeros")};
    const Value& parameter = graph.at(node.operands[0]);
    node.results = {graph.add_value({.name = "sum", .type = parameter.type, .axes = parameter.axes})};
    graph.add_node(std::move(node));
    term_.at = {"sum", {}};
  }

  Learner learner_;
  TermSpec term_;
  Example example_;
  TrainingGraph training_;
  std::map<std::string, Array> values_;
};

}  // namespace weir
