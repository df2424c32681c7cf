// Inputs, layers and outputs: what exists.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/schedules.hpp"
#include "compiler/spec/sections.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

Dims read_shape(Reading& reading, const std::string& subject, const Element& element) {
  if (!reading.expect(element, Kind::list, subject, "shape", "such as [28, 28, 1], or [] for one number a sample"))
    return {};
  const auto refuse = [&](std::string_view code, const Element& at, const std::string& what) {
    reading.error(code, at.place, fmt::format("{}: \"shape\" {}", subject, what));
  };
  Dims shape;
  if (element.items.size() > limits::rank)
    refuse("E0104", element, fmt::format("has {} axes, at most {} are possible", element.items.size(), limits::rank));
  for (const Element& item : element.items) {
    if (!item.is(Kind::integer))
      refuse("E0203", item, fmt::format("must hold integers, found {}", describe(item)));
    else if (item.integer < 1 || item.integer > limits::extent)
      refuse("E0204", item, fmt::format("holds {}, sizes are from 1 to {}", item.integer, limits::extent));
    else
      shape.push_back(item.integer);
  }
  if (shape.size() != element.items.size() || shape.size() > limits::rank) return {};
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    if (count > limits::elements / extent) {
      refuse("E0104", element, fmt::format("has more than {} elements", limits::elements));
      return {};
    }
    count *= extent;
  }
  return shape;
}

LayerSpec read_layer(Sections& sections, const Element& element, std::size_t index) {
  Reading& reading = sections.reading;
  LayerSpec layer;
  layer.place = element.place;
  const std::string where = fmt::format("layers[{}]", index);
  if (!element.is(Kind::object)) {
    sections.names.miss();
    reading.error("E0203", element.place, fmt::format("{} must be an object, found {}", where, describe(element)))
        .help = "such as {\"name\": \"hidden\", \"type\": \"dense\", \"units\": 10}";
    return layer;
  }
  const Element* name = element.find("name");
  if (name && reading.expect(*name, Kind::text, where, "name")) {
    layer.name = name->text;
    sections.names.declare(reading, layer.name, name->place, Names::Kind::layer, index);
  } else {
    sections.names.miss();
  }
  const std::string subject = layer.name.empty() ? where : fmt::format("layer {}", quote(layer.name));
  const Element* type = element.find("type");
  if (type) layer.op = read_op(reading, subject, *type, "layer type", {Role::layer}, LaterWords::layers());
  const ObjectReader reader(reading, element, subject, layer_keys(), layer.op);
  layer.attributes = reader.attributes();
  if (layer.op)
    for (const AttributeDef& attribute : layer.op->attributes)
      if (const Element* value = reader.find(attribute.name); value && is_schedule(attribute, *value))
        if (auto schedule = read_schedule(reading, subject, attribute, *value))
          layer.schedules.emplace(attribute.name, std::move(*schedule));
  layer.trainable = reader.get<bool>("trainable");
  layer.training = reader.get<bool>("training");
  layer.stop_gradient = reader.get<bool>("stop_gradient");
  read_parameter_rules(sections, reader, layer);
  if (const Element* share = reader.find("share"))
    if (reading.expect(*share, Kind::text, subject, "share", "the name of a layer")) layer.share = share->text;
  for (const Member& member : element.members)
    if (!is_free_key(member.key)) layer.places.emplace(member.key, member.value.place);
  for (const char* key : {"activation", "from"})  // with a slip they are meant all the same
    if (reader.meant(key)) layer.places.emplace(key, layer.place);
  return layer;
}

}  // namespace

std::optional<Located<std::string>> Sections::node(const std::string& subject, std::string_view key,
                                                   const Element& element) {
  auto found = read_node(reading, names, spec.layers, subject, key, element);
  if (found) read_inputs.emplace(found->value);
  return found;
}

bool Sections::is_surely(const InputSpec& input, DType dtype) const {
  return input.dtype == dtype && !unclear_inputs.contains(input.name);
}

namespace {

InputSpec read_input(Sections& sections, const Member& member) {
  const std::string subject = fmt::format("input {}", quote(member.key));
  InputSpec input{member.key, {}, DType::f32, member.place};
  if (!member.value.is(Kind::object)) {
    sections.reading
        .error("E0203", member.value.place,
               fmt::format("{} must be an object, found {}", subject, describe(member.value)))
        .help = "such as {\"shape\": [28, 28, 1]}";
    sections.unclear_inputs.insert(member.key);
    return input;
  }
  const ObjectReader reader(sections.reading, member.value, subject, input_keys());
  if (const Element* shape = reader.find("shape")) input.shape = read_shape(sections.reading, subject, *shape);
  const Element* dtype = reader.find("dtype");
  input.dtype = reader.get<std::string>("dtype") == "i32" ? DType::i32 : DType::f32;
  const bool understood =
      dtype ? dtype->is(Kind::text) && dtype->text == to_string(input.dtype) : !reader.meant("dtype");
  if (!understood) sections.unclear_inputs.insert(member.key);
  return input;
}

}  // namespace

void read_inputs(Sections& sections, const Element& inputs) {
  Reading& reading = sections.reading;
  if (!reading.expect(inputs, Kind::object, "spec", "inputs", "such as {\"image\": {\"shape\": [28, 28, 1]}}"))
    return sections.names.miss();
  for (const Member& member : inputs.members) {
    if (is_free_key(member.key)) continue;
    sections.names.declare(reading, member.key, member.place, Names::Kind::input, sections.spec.inputs.size());
    sections.spec.inputs.push_back(read_input(sections, member));
  }
  if (!sections.spec.inputs.empty()) return;
  sections.names.miss();
  reading.error("E0204", inputs.place, "\"inputs\" is empty, a network has at least one input");
}

void read_layers(Sections& sections, const Element& layers) {
  Reading& reading = sections.reading;
  if (!reading.expect(layers, Kind::list, "spec", "layers", "layers are a list, each with its name inside"))
    return sections.names.miss();
  if (layers.items.empty()) {
    sections.names.miss();
    reading.error("E0204", layers.place, "\"layers\" is empty, a network has at least one layer");
  } else if (layers.items.size() > limits::layers) {
    sections.names.miss();
    reading.error("E0104", layers.place,
                  fmt::format("\"layers\" has {} entries, at most {} are read", layers.items.size(), limits::layers));
    return;
  }
  for (std::size_t i = 0; i < layers.items.size(); ++i)
    sections.spec.layers.push_back(read_layer(sections, layers.items[i], i));
}

void read_outputs(Sections& sections, const Element& outputs) {
  Reading& reading = sections.reading;
  if (!reading.expect(outputs, Kind::list, "spec", "outputs", "a list of nodes, such as [\"output\"]")) return;
  if (outputs.items.empty())
    reading.error("E0204", outputs.place, "\"outputs\" is empty").help =
        "leave it out: then it is every layer that nothing reads";
  std::set<std::string> seen;
  for (const Element& item : outputs.items) {
    auto node = sections.node("spec", "outputs", item);
    if (!node) continue;
    if (!seen.insert(node->value).second)
      reading.error("E0207", item.place, fmt::format("\"outputs\" names {} twice", quote(node->value)));
    sections.spec.outputs.push_back(std::move(*node));
  }
}

}  // namespace weir
