// The double-precision references against numbers recorded from real Keras (tests/reference/*.json, recorded in double
// precision).
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "tests/recorded_case.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;

AttributeValue attribute(const AttributeDef* def, const Json& value) {
  if (def && def->type == AttributeType::sizes && value.is_number_integer())
    return std::vector<std::int64_t>(static_cast<std::size_t>(def->count), value.get<std::int64_t>());
  if (def && def->type == AttributeType::number) return value.get<double>();
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_array()) {
    std::vector<std::int64_t> integers;
    for (const Json& item : value)
      if (item.is_array())
        for (const Json& inner : item) integers.push_back(inner.get<std::int64_t>());
      else
        integers.push_back(item.get<std::int64_t>());
    return integers;
  }
  return value.get<std::string>();
}

/// One node over recorded operands, and its gradient nodes for a recorded cotangent.
class RecordedNode {
 public:
  RecordedNode(const OpDef& op, const Json& recorded) : op_(op), recorded_(recorded) {
    Attributes attributes;
    for (const auto& [name, value] : recorded.at("attributes").items())
      if (const AttributeDef* def = find_attribute(op, name); def || op.role == Role::loss)
        attributes.set(name, attribute(def, value));
    if (op.class_target || op.integer_target || op.role == Role::loss) fix_target(attributes);
    node_ = Node{.op = &op, .name = "node", .attributes = with_defaults(op, attributes)};
    node_.training = recorded.value("training", true);
    add_operands();
    run_infer();
  }

  void compute() { run_from(0); }

  void backward() {
    Array seed_array = op_.role == Role::loss ? scalar(1) : recorded_array(recorded_.at("cotangent").begin().value());
    const TensorType type = graph_.at(results_.front()).type;
    const ValueId seed = add("cotangent", type, std::move(seed_array));
    std::vector<ValueId> gradients(results_.size(), none);
    gradients.front() = seed;
    std::vector<bool> wanted;
    for (ValueId operand : graph_.node(0).operands)
      wanted.push_back(operand != none && recorded_.at("gradients").contains(graph_.at(operand).name));
    GradientContext context(graph_, 0, gradients, wanted);
    op_.gradient(context);
    gradients_ = context.results;
    while (arrays_.size() < graph_.values.size())
      arrays_.emplace_back(full_dims(graph_.values[arrays_.size()].type, batch_));
    run_from(1);
  }

  const Array& result(const std::string& name) {
    return arrays_[index(results_.at(static_cast<std::size_t>(result_index(op_, name))))];
  }
  const Array* gradient(const std::string& operand) {
    const auto& operands = graph_.node(0).operands;
    for (std::size_t i = 0; i < operands.size(); ++i)
      if (operands[i] != none && graph_.at(operands[i]).name == operand && gradients_[i] != none)
        return &arrays_[index(gradients_[i])];
    return nullptr;
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  static Array scalar(double value) {
    Array array{Dims{}};
    array[0] = value;
    return array;
  }

  /// Integer targets of the recording are classes.
  void fix_target(Attributes& attributes) {
    const Json& operands = recorded_.at("operands");
    if (!operands.contains("target") || op_.integer_target) return;
    const Dims prediction = operands.at("prediction").at("dims").get<Dims>(),
               target = operands.at("target").at("dims").get<Dims>();
    if (op_.class_target && target.size() + 1 == prediction.size()) attributes.set("one_hot", prediction.back());
  }

  ValueId add(const std::string& name, const TensorType& type, Array values) {
    Value value{.name = name, .kind = ValueKind::input, .type = type};
    value.axes = type.batched ? activation_axes(type.dims.size()) : std::string("opqrst").substr(0, type.dims.size());
    const ValueId id = graph_.add_value(std::move(value));
    arrays_.push_back(std::move(values));
    return id;
  }

  ValueId operand(const std::string& name, OperandKind kind) {
    const Json& operands = recorded_.at("operands");
    if (kind == OperandKind::scalar)
      return add(name, scalar_type(), scalar(name == "rows" ? static_cast<double>(batch_) : 0));
    if (!operands.contains(name)) return none;
    Array array = recorded_array(operands.at(name));
    const bool whole = kind == OperandKind::parameter || kind == OperandKind::statistic;
    TensorType type = unbatched(array.dims);
    if (!whole) type = batched(Dims(array.dims.begin() + 1, array.dims.end()));
    if (!op_.index_bound.empty() && kind == OperandKind::value) type.dtype = DType::i32;
    if (kind == OperandKind::target && (op_.integer_target || node_.attributes.has("one_hot"))) type.dtype = DType::i32;
    return add(name, type, std::move(array));
  }

  void add_operands() {
    const Json& operands = recorded_.at("operands");
    const std::string first = operands.contains("prediction") ? "prediction"
                              : operands.contains("input")    ? "input"
                              : operands.contains("query")    ? "query"
                                                              : "input_0";
    batch_ = operands.at(first).at("dims").at(0).get<std::int64_t>();
    for (const OperandDef& def : op_.operands) {
      if (def.kind != OperandKind::variadic) {
        node_.operands.push_back(operand(std::string(def.name), def.kind));
        continue;
      }
      for (int i = 0; operands.contains("input_" + std::to_string(i)); ++i)
        node_.operands.push_back(operand("input_" + std::to_string(i), OperandKind::value));
    }
  }

  void run_infer() {
    InferContext context(graph_, node_);
    op_.infer(context);
    for (std::size_t i = 0; i < context.results.size(); ++i) {
      Value value{.name = "result." + std::string(op_.results[i]), .type = context.results[i]};
      value.axes = value.type.batched ? activation_axes(value.type.dims.size()) : "o";
      results_.push_back(graph_.add_value(std::move(value)));
      arrays_.emplace_back(full_dims(context.results[i], batch_));
    }
    node_.results = results_;
    graph_.add_node(node_);
  }

  void run_from(std::size_t first) {
    for (std::size_t i = first; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      std::vector<Array*> operands, results;
      for (ValueId id : node.operands) operands.push_back(id == none ? nullptr : &arrays_[index(id)]);
      for (ValueId id : node.results) results.push_back(&arrays_[index(id)]);
      ReferenceContext context(node, operands, results, batch_);
      node.op->reference(context);
    }
  }

  const OpDef& op_;
  const Json& recorded_;
  Graph graph_;
  Node node_;
  std::int64_t batch_ = 0;
  std::vector<Array> arrays_;
  std::vector<ValueId> results_, gradients_;
};

/// Refused by the op alone. Of losses along another axis than the last, a pass moves the axis (loss_numbers_test); the
/// others are recorded for the day when they work.
bool is_for_later(const OpDef& op, const Json& recorded) {
  const Json& attributes = recorded.at("attributes");
  if (attributes.contains("axis") && attributes.at("axis") != -1 && (op.name == "softmax" || op.role != Role::layer))
    return true;
  for (const auto& [name, value] : attributes.items())
    if (op.role == Role::layer && !find_attribute(op, name)) return true;
  return false;
}

/// Of double precision: 1e-10, more only where Keras itself rounds through f32.
double tolerance(const Json& recorded) { return recorded.at("tolerance").at("f64").get<double>(); }

std::vector<const OpDef*> recorded_ops() {
  std::vector<const OpDef*> ops;
  for (const OpDef* op : ops_table())
    if ((op->role == Role::layer || op->role == Role::loss || op->role == Role::metric) &&
        std::filesystem::exists(std::string(WEIR_SOURCE_DIR) + "/tests/reference/" + std::string(op->name) + ".json"))
      ops.push_back(op);
  return ops;
}

}  // namespace

TEST_CASE("references give the values that Keras gives") {
  int compared = 0;
  for (const OpDef* op : recorded_ops())
    for (const Json& recorded : recorded_cases(op->name)) {
      INFO(std::string(op->name), " ", recorded.at("name").get<std::string>());
      if (is_for_later(*op, recorded)) continue;
      RecordedNode node(*op, recorded);
      node.compute();
      for (const auto& [name, expected] : recorded.at("results").items()) {
        if (std::find(op->results.begin(), op->results.end(), name) == op->results.end()) continue;
        const std::string label = name;
        INFO(label);
        CHECK(deviation(node.result(name), recorded_array(expected)) <= tolerance(recorded));
        ++compared;
      }
    }
  CHECK(compared > 60);
}

TEST_CASE("references give the gradients that Keras gives") {
  int compared = 0;
  for (const OpDef* op : recorded_ops())
    for (const Json& recorded : recorded_cases(op->name)) {
      if (!recorded.contains("gradients") || recorded.at("gradients").empty() || op->no_gradient) continue;
      if (op->role == Role::layer && !recorded.value("training", true)) continue;
      INFO(std::string(op->name), " ", recorded.at("name").get<std::string>());
      if (is_for_later(*op, recorded)) continue;
      RecordedNode node(*op, recorded);
      node.compute();
      node.backward();
      for (const auto& [name, expected] : recorded.at("gradients").items()) {
        const std::string label = name;
        INFO(label);
        const Array* gradient = node.gradient(name);
        REQUIRE(gradient);
        CHECK(deviation(*gradient, recorded_array(expected)) <= tolerance(recorded));
        ++compared;
      }
    }
  CHECK(compared > 60);
}

}  // namespace weir
