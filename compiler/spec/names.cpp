#include "compiler/spec/names.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir {

std::string_view text_of(Names::Kind kind) {
  if (kind == Names::Kind::input) return "an input";
  return kind == Names::Kind::layer ? "a layer" : "a loss term";
}

void Names::declare(Reading& reading, const std::string& name, const Place& place, Kind kind, std::size_t index) {
  check_name(reading, name, place, text_of(kind), {"total"});
  const auto [found, is_new] = entries_.emplace(name, Entry{kind, index, place});
  if (is_new) {
    order_.push_back(name);
    return;
  }
  const Entry& first = found->second;
  Diagnostic& diagnostic =
      reading.error("E0207", place, fmt::format("the name {} is taken by {}", quote(name), text_of(first.kind)));
  if (first.place.line > 0)
    diagnostic.notes.push_back(fmt::format("first used in line {}, column {}", first.place.line, first.place.column));
  diagnostic.help = "names are unique over inputs, layers and loss terms";
}

const Names::Entry* Names::find(std::string_view name) const {
  const auto found = entries_.find(std::string(name));
  return found == entries_.end() ? nullptr : &found->second;
}

std::vector<std::string> Names::all(std::initializer_list<Kind> kinds) const {
  std::vector<std::string> names;
  for (const std::string& name : order_)
    if (std::find(kinds.begin(), kinds.end(), entries_.at(name).kind) != kinds.end()) names.push_back(name);
  return names;
}

std::string Names::help(Reading& reading, std::string_view word, std::string_view what,
                        std::initializer_list<Kind> kinds) const {
  constexpr std::size_t few = 20;
  if (reading.full() || !reading.may_suggest()) return "";
  const std::vector<std::string> known = all(kinds);
  return reading.suggestion(word, known, known.size() > few ? "" : fmt::format("{}: {}", what, fmt::join(known, ", ")));
}

std::string_view base_of(std::string_view node) { return node.substr(0, node.find(':')); }

bool has_activation(const LayerSpec& layer) {
  if (layer.attributes.has("activation")) return layer.attributes.word("activation") != "linear";
  return layer.places.contains("activation");
}

namespace {

/// Reports a port that the layer does not have.
bool has_port(Reading& reading, const LayerSpec& layer, std::string_view port, const std::string& message,
              const Place& place) {
  if (!layer.op || (port == "linear" && has_activation(layer))) return true;
  Diagnostic& diagnostic = reading.error("E0302", place, message);
  if (port == "linear")
    diagnostic.help =
        fmt::format("{} has no activation, so \"{}\" is that value already", quote(layer.name), layer.name);
  else if (has_activation(layer))
    diagnostic.help =
        fmt::format("it has one output, \"{0}\", and the value before its activation, \"{0}:linear\"", layer.name);
  else
    diagnostic.help = fmt::format("it has one output, \"{}\"", layer.name);
  return false;
}

}  // namespace

std::optional<Located<std::string>> read_node(Reading& reading, const Names& names,
                                              const std::vector<LayerSpec>& layers, const std::string& subject,
                                              std::string_view key, const Element& element) {
  if (!reading.expect(element, Element::Kind::text, subject, key)) return std::nullopt;
  const std::string& text = element.text;
  const std::string_view base = base_of(text);
  const Names::Entry* entry = names.find(base);
  if (!entry) {
    if (!names.complete()) return std::nullopt;
    reading.error("E0301", element.place, fmt::format("{}: \"{}\" names an unknown node {}", subject, key, quote(base)))
        .help = names.help(reading, base, "nodes", {Names::Kind::layer, Names::Kind::input});
    return std::nullopt;
  }
  if (entry->kind == Names::Kind::term) {
    reading.error("E0301", element.place,
                  fmt::format("{}: \"{}\" must name a node, but {} is a loss term", subject, key, quote(base)));
    return std::nullopt;
  }
  if (base.size() == text.size()) return Located<std::string>{text, element.place};
  const std::string message =
      fmt::format("{}: {} has no port {}", subject, quote(base), quote(text.substr(base.size() + 1)));
  if (entry->kind == Names::Kind::input) {
    reading.error("E0302", element.place, message).help = "an input has no ports";
    return std::nullopt;
  }
  const bool good = has_port(reading, layers.at(entry->index), std::string_view(text).substr(base.size() + 1), message,
                             element.place);
  return good ? std::optional(Located<std::string>{text, element.place}) : std::nullopt;
}

}  // namespace weir
