// The JSON Schema of the format, made from the op records and the records of the other keys. Editors complete and check
// with it; what it cannot say (names that exist, cycles, shapes) is checked by the reader.
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "compiler/spec/keys.hpp"
#include "compiler/spec/limits.hpp"
#include "compiler/spec/reading.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {
namespace {

using json = nlohmann::ordered_json;

json reference(const std::string& definition) { return {{"$ref", "#/$defs/" + definition}}; }

json to_json(const Initializer& initializer) {
  if (initializer.numbers.empty() && initializer.words.empty()) return initializer.type;
  json object = {{"type", initializer.type}};
  for (const auto& [key, number] : initializer.numbers) object[key] = number;
  for (const auto& [key, word] : initializer.words) object[key] = word;
  return object;
}

/// A default as it would stand in a file.
json to_json(const AttributeValue& value) {
  return std::visit(
      [](const auto& held) -> json {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, Initializer>)
          return to_json(held);
        else
          return held;
      },
      value);
}

json with_range(json schema, const AttributeDef& record) {
  const bool integer = schema["type"] == "integer";
  const auto bound = [&](double value) { return integer ? json(static_cast<std::int64_t>(value)) : json(value); };
  const auto set = [&](const char* inclusive, const char* exclusive, bool is_exclusive, double value) {
    if (!std::isfinite(value)) return;
    schema.erase(inclusive);
    schema[is_exclusive ? exclusive : inclusive] = bound(value);
  };
  set("minimum", "exclusiveMinimum", record.exclusive_least, record.least);
  set("maximum", "exclusiveMaximum", record.exclusive_most, record.most);
  return schema;
}

constexpr double most_float = std::numeric_limits<float>::max();

json list_of(json items, std::size_t least, std::size_t most) {
  return {{"type", "array"}, {"items", std::move(items)}, {"minItems", least}, {"maxItems", most}};
}

/// One integer, a list of them, or one that stands for a list.
json integers_schema(const AttributeDef& record) {
  const json integer = with_range({{"type", "integer"}}, record);
  const auto count = static_cast<std::size_t>(record.count);
  switch (record.type) {
    case AttributeType::sizes:
      return {{"anyOf", {integer, list_of(integer, count, count)}}};
    case AttributeType::integers:
      return list_of(integer, 1, limits::rank);
    case AttributeType::axes: {
      const auto rank = static_cast<std::int64_t>(limits::rank);
      const json axis = {{"type", "integer"}, {"minimum", -rank}, {"maximum", rank - 1}};
      json axes = list_of(axis, 1, 2 * limits::rank);
      axes["uniqueItems"] = true;
      return {{"anyOf", {axis, std::move(axes)}}};
    }
    case AttributeType::numbers:
      return list_of(with_range({{"type", "number"}}, record), 1, limits::extent);
    case AttributeType::padding:
      return {{"anyOf", {{{"enum", {"valid", "same"}}}, list_of(list_of(integer, 2, 2), 2, 2)}}};
    default:
      return integer;
  }
}

json schedule_schema(const json& number);

json number_schema(const AttributeDef& record) {
  json number = with_range({{"type", "number"}, {"minimum", -most_float}, {"maximum", most_float}}, record);
  if (!record.scheduled) return number;
  const json schedule = schedule_schema(number);
  return {{"anyOf", {std::move(number), schedule}}};
}

json value_schema(const AttributeDef& record) {
  switch (record.type) {
    case AttributeType::flag:
      return {{"type", "boolean"}};
    case AttributeType::number:
      return number_schema(record);
    case AttributeType::word:
      return record.words.empty() ? json{{"type", "string"}} : json{{"enum", record.words}};
    case AttributeType::initializer:
      return reference("initializer");
    case AttributeType::activation:
      return {{"enum", activation_names()}};
    case AttributeType::axis:
      return {{"type", "integer"}, {"minimum", -static_cast<std::int64_t>(limits::rank)}, {"maximum", -1}};
    default:
      return integers_schema(record);
  }
}

/// An object of known keys, and of keys that mean nothing to weir.
class ClosedObject {
 public:
  void add(const AttributeDef& record, json schema) {
    if (!record.doc.empty()) schema["description"] = record.doc;
    if (record.standard && !record.pytorch) schema["default"] = to_json(*record.standard);
    properties_[std::string(record.name)] = std::move(schema);
    if (!record.standard && !record.optional) required_.push_back(record.name);
  }

  void add(Keys keys, const OpDef* op = nullptr) {
    for (const KeyDef& key : keys) {
      if (key.value.later || !key.refused.empty()) continue;
      add(key.value, key.holds.empty() ? value_schema(key.value) : reference(std::string(key.holds)));
    }
    if (!op) return;
    for (const AttributeDef& attribute : op->attributes) {
      const KeyDef* own = find_key(keys, attribute.name);
      if (!attribute.later && (!own || own->value.later)) add(attribute, value_schema(attribute));
    }
  }

  void set(const std::string& key, json schema) { properties_[key] = std::move(schema); }
  void erase(const std::string& key) { properties_.erase(key); }
  void require(const std::string& key) { required_.push_back(key); }

  json schema() && {
    properties_["$schema"] = properties_["$comment"] = true;
    json schema = {{"type", "object"}, {"properties", std::move(properties_)}, {"patternProperties", {{"^x-", true}}}};
    if (!required_.empty()) schema["required"] = std::move(required_);
    schema["additionalProperties"] = false;
    return schema;
  }

 private:
  json properties_ = json::object(), required_ = json::array();
};

json object_of(Keys keys, const OpDef* op = nullptr) {
  ClosedObject object;
  object.add(keys, op);
  return std::move(object).schema();
}

/// One of two sets of keys. number: what its values may be.
json schedule_schema(const json& number) {
  json curve = object_of(curve_keys()), pieces = object_of(piecewise_keys());
  curve["properties"]["type"] = {{"enum", {"linear", "cosine", "exponential"}}};
  pieces["properties"]["type"] = {{"const", "piecewise"}};
  curve["properties"]["from"] = curve["properties"]["to"] = number;
  pieces["properties"]["values"] = list_of(number, 1, limits::layers + 1);
  return {{"oneOf", {std::move(curve), std::move(pieces)}}};
}

constexpr std::string_view letters = "[A-Za-z_][A-Za-z0-9_-]*";

/// A name that is none of the reserved words: "total|loss".
std::string name_pattern(std::string_view reserved) { return fmt::format("^(?!x-|({})$){}$", reserved, letters); }

/// An object whose keys are names.
json named(json entry, std::string_view reserved = "total") {
  return {{"type", "object"},
          {"properties", {{"$schema", true}, {"$comment", true}}},
          {"patternProperties", {{"^x-", true}, {name_pattern(reserved), std::move(entry)}}},
          {"additionalProperties", false}};
}

/// An object whose `type` decides what else it holds: one definition an op.
json by_type(const std::vector<std::string>& types, const std::string& prefix) {
  json branches = json::array();
  for (const std::string& type : types)
    branches.push_back({{"if", {{"properties", {{"type", {{"const", type}}}}}, {"required", {"type"}}}},
                        {"then", reference(prefix + "." + type)}});
  return {{"type", "object"},
          {"required", {"type"}},
          {"properties", {{"type", {{"enum", types}}}}},
          {"allOf", std::move(branches)}};
}

json described(const OpDef& op, ClosedObject object) {
  object.set("type", {{"const", op.name}});
  json schema = std::move(object).schema();
  schema["description"] = fmt::format("{}: {}", op.summary, op.equation);
  return schema;
}

std::size_t inputs_of(const OpDef& op) {
  std::size_t count = 0;
  for (const OperandDef& operand : op.operands)
    count += operand.kind == OperandKind::value || operand.kind == OperandKind::variadic;
  return count;
}

/// `from`: an object of roles where the op has several inputs, else a node or a list.
json from_schema(const OpDef& op) {
  const bool variadic = !op.operands.empty() && op.operands.back().kind == OperandKind::variadic;
  if (inputs_of(op) < 2)
    return {{"anyOf", {reference("node"), list_of(reference("node"), 1, variadic ? limits::operands : 1)}}};
  ClosedObject roles;
  for (const OperandDef& operand : op.operands)
    if (operand.kind == OperandKind::value)
      roles.add({.name = operand.name, .doc = "a node", .optional = operand.optional}, reference("node"));
  return std::move(roles).schema();
}

json layer_schema(const OpDef& op) {
  ClosedObject object;
  object.add(layer_keys(), &op);
  object.set("from", from_schema(op));
  for (const RuleKey& rule : rule_keys_of(op))
    object.set(rule.name, reference(rule.role == Role::regularizer ? "regularizer" : "constraint"));
  if (inputs_of(op) > 1) object.require("from");
  return described(op, std::move(object));
}

json term_schema(const OpDef& op, Keys keys) {
  ClosedObject object;
  object.add(keys, &op);
  if (op.no_target) object.erase("target");
  if (!op.no_target) object.require("target");
  if (op.logits_behind.empty()) object.erase("from_logits");
  return described(op, std::move(object));
}

json optimizer_schema(const OpDef& op) {
  ClosedObject object;
  object.add(optimizer_keys(), &op);
  return described(op, std::move(object));
}

json rule_schema(const OpDef& op) {
  ClosedObject object;
  object.add(rule_keys(op.role), &op);
  return described(op, std::move(object));
}

/// A word, or an object with a type.
json word_or_object(Role role, const std::string& prefix) {
  return {{"anyOf", {{{"enum", op_names({role})}}, by_type(op_names({role}), prefix)}}};
}

json initializer_schema() {
  json names = json::array(), objects = json::array();
  for (const InitializerType& type : initializer_types()) {
    names.push_back(type.type);
    ClosedObject object;
    object.set("type", {{"const", type.type}});
    object.require("type");
    for (const std::string_view key : type.numbers) object.set(std::string(key), {{"type", "number"}});
    for (const std::string_view key : type.words) object.set(std::string(key), {{"type", "string"}});
    objects.push_back(std::move(object).schema());
  }
  return {{"anyOf", {{{"enum", std::move(names)}}, {{"oneOf", std::move(objects)}}}}};
}

json target_schema() {
  json schema = object_of(target_keys());
  json one = json::array();
  for (const char* key : {"input", "constant", "node"}) one.push_back({{"required", {key}}});
  schema["oneOf"] = std::move(one);
  return schema;
}

json data_set_schema() {
  return named({{"anyOf", {reference("text"), object_of(csv_keys()), object_of(random_keys())}}});
}

void add_ops(json& definitions) {
  for (const OpDef* op : ops_table()) {
    const std::string name(op->name);
    if (op->role == Role::layer) definitions["layer." + name] = layer_schema(*op);
    if (op->role == Role::loss) definitions["loss." + name] = term_schema(*op, term_keys());
    if (op->role == Role::loss || op->role == Role::metric)
      definitions["metric." + name] = term_schema(*op, metric_keys());
    if (op->role == Role::regularizer) definitions["regularizer." + name] = rule_schema(*op);
    if (op->role == Role::constraint) definitions["constraint." + name] = rule_schema(*op);
    if (op->role == Role::optimizer) definitions["optimizer." + name] = optimizer_schema(*op);
  }
}

json definitions() {
  const auto pattern = [](const std::string& text) {
    return json{{"type", "string"}, {"pattern", text}, {"maxLength", limits::name_bytes}};
  };
  const json extent = {{"type", "integer"}, {"minimum", 1}, {"maximum", limits::extent}};
  json all;
  all["format"] = {{"const", "weir/1"}};
  all["text"] = {{"type", "string"}, {"pattern", "^[^\\u0000]+$"}};
  all["stem"] = {
      {"type", "string"}, {"pattern", "^(?!\\.)[^/\\\\\\u0000-\\u001F\\u007F]+$"}, {"maxLength", limits::name_bytes}};
  all["name"] = pattern(name_pattern("total"));
  all["node"] = {{"type", "string"}, {"pattern", fmt::format("^(?!x-){}(:linear)?$", letters)}};
  all["shape"] = list_of(extent, 0, limits::rank);
  all["columns"] = {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}, {"uniqueItems", true}};
  all["inputs"] = named(object_of(input_keys()));
  all["inputs"]["minProperties"] = 1;
  all["layers"] = list_of(by_type(op_names({Role::layer}), "layer"), 1, limits::layers);
  all["node_or_pattern"] = {{"type", "string"}, {"pattern", "^(?!x-)[A-Za-z_*][A-Za-z0-9_*-]*(:[a-z*]+)?$"}};
  all["nodes"] = {{"type", "array"}, {"items", reference("node_or_pattern")}};
  all["some_nodes"] = {{"type", "array"}, {"items", reference("node_or_pattern")}, {"minItems", 1}};
  all["counts"] = list_of({{"type", "integer"}, {"minimum", 0}, {"maximum", limits::extent}}, 0, limits::layers);
  all["outputs"] = {{"type", "array"}, {"items", reference("node")}, {"minItems", 1}, {"uniqueItems", true}};
  all["exclude"] = {{"type", "array"}, {"items", reference("node_or_pattern")}};
  all["terms"] = named(by_type(op_names({Role::loss}), "loss"));
  all["loss"] = object_of(loss_keys());
  all["target"] = all["metric_target"] = target_schema();
  all["metric_target"]["properties"]["gradient"] = {{"const", false}};
  all["weights_input"] = object_of(weights_keys());
  all["optimizer"] = by_type(op_names({Role::optimizer}), "optimizer");
  all["metrics"] = named(by_type(op_names({Role::metric, Role::loss}), "metric"), "total|loss|contribution");
  all["train"] = object_of(train_keys());
  all["data_set"] = data_set_schema();
  all["data"] = object_of(data_keys());
  all["regularizer"] = word_or_object(Role::regularizer, "regularizer");
  all["constraint"] = word_or_object(Role::constraint, "constraint");
  all["initializer"] = initializer_schema();
  add_ops(all);
  return all;
}

}  // namespace

std::string emit_schema() {
  json schema = {
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "weir/1"},
      {"description",
       "A network, its losses, how it is trained and on what data. Comments // and /* */ are allowed in a file."}};
  schema.update(object_of(root_keys()));
  schema["$defs"] = definitions();
  return schema.dump(2) + "\n";
}

}  // namespace weir
