// Regularizers and constraints of a layer: a word of Keras, or an object with its type and settings.
#include <fmt/format.h>

#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

/// Nothing where it is wrong, which is reported.
std::optional<ParameterRule> read_rule(Reading& reading, const std::string& layer, const RuleKey& key,
                                       const Element& element) {
  const std::string subject = fmt::format("layer {}: \"{}\"", quote(layer), key.name);
  const std::string_view what = key.role == Role::regularizer ? "regularizer" : "constraint";
  if (!element.is(Kind::text) && !element.is(Kind::object)) {
    reading.error("E0203", element.place,
                  fmt::format("{} must be the name of a {}, or an object with its type, found {}", subject, what,
                              describe(element)));
    return std::nullopt;
  }
  ParameterRule rule{.name = layer + "." + key.name, .of = key.of, .attributes = {}, .place = element.place};
  const Element* type = element.is(Kind::text) ? &element : element.find("type");
  if (type) rule.op = read_op(reading, subject, *type, what, {key.role}, {});
  if (element.is(Kind::object)) {
    const ObjectReader reader(reading, element, subject, rule_keys(key.role), rule.op);
    if (rule.op) rule.attributes = reader.attributes();
  } else if (rule.op) {
    rule.attributes = with_defaults(*rule.op, {});
  }
  if (!rule.op) return std::nullopt;
  return rule;
}

}  // namespace

void read_parameter_rules(Sections& sections, const ObjectReader& reader, LayerSpec& layer) {
  if (!layer.op) return;
  for (const RuleKey& key : rule_keys_of(*layer.op)) {
    const Element* element = reader.find(key.name);
    if (!element) continue;
    auto rule = read_rule(sections.reading, layer.name, key, *element);
    if (!rule) continue;
    (key.role == Role::regularizer ? layer.regularizers : layer.constraints).push_back(std::move(*rule));
  }
}

}  // namespace weir
