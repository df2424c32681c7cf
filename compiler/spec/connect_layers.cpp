// Who reads whom: `from` and its defaults by the op's record, and that no layer waits for itself.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;
using Nodes = std::vector<Located<std::string>>;

std::vector<OperandDef> operands_of(const OpDef& op, OperandKind kind) {
  std::vector<OperandDef> operands;
  for (const OperandDef& operand : op.operands)
    if (operand.kind == kind) operands.push_back(operand);
  return operands;
}

bool is_variadic(const OpDef& op) { return !operands_of(op, OperandKind::variadic).empty(); }

/// Several inputs that mean different things, bound by an object.
std::vector<OperandDef> roles_of(const OpDef& op) {
  auto roles = operands_of(op, OperandKind::value);
  return roles.size() > 1 ? roles : std::vector<OperandDef>{};
}

std::string example_of(const std::vector<OperandDef>& roles) {
  std::vector<std::string> pairs;
  for (const OperandDef& role : roles) pairs.push_back(fmt::format("\"{}\": \"…\"", role.name));
  return fmt::format("such as {{{}}}", fmt::join(pairs, ", "));
}

Nodes read_list(Sections& sections, const std::string& subject, const Element& from) {
  Nodes nodes;
  if (from.items.size() > limits::operands) {
    sections.reading.error("E0104", from.place,
                           fmt::format("{}: \"from\" has {} entries, at most {} are possible", subject,
                                       from.items.size(), limits::operands));
    return nodes;
  }
  for (const Element& item : from.items)
    if (auto node = sections.node(subject, "from", item)) nodes.push_back(std::move(*node));
  return nodes;
}

/// In the op's order; the name is empty where an optional role is absent.
Nodes read_roles(Sections& sections, const std::string& subject, const std::vector<OperandDef>& roles,
                 const Element& from) {
  std::vector<std::string> names;
  for (const OperandDef& role : roles) names.emplace_back(role.name);
  const auto misspelt = [&](std::string_view role) {  // is reported as that, and is not missing beside
    return std::any_of(from.members.begin(), from.members.end(), [&](const Member& member) {
      return !is_free_key(member.key) && member.key != role && nearest(member.key, names) == role;
    });
  };
  Nodes nodes;
  for (const OperandDef& role : roles) {
    nodes.emplace_back();
    const Element* element = from.find(role.name);
    if (!element && !role.optional && !misspelt(role.name))
      sections.reading.error("E0202", from.place, fmt::format("{}: \"from\" needs \"{}\"", subject, role.name)).help =
          example_of(roles);
    if (element)
      if (auto node = sections.node(subject, role.name, *element)) nodes.back() = std::move(*node);
  }
  for (const Member& member : from.members)
    if (!is_free_key(member.key) && std::find(names.begin(), names.end(), member.key) == names.end())
      sections.reading
          .error("E0201", member.place, fmt::format("{}: \"from\" has no role {}", subject, quote(member.key)))
          .help = sections.reading.suggestion(member.key, names, example_of(roles));
  return nodes;
}

/// The first layer reads the only f32 input, every other one the entry before it.
Nodes default_from(Sections& sections, const std::string& subject, const Element& layer, std::size_t index) {
  if (index > 0) {
    const std::string& before = sections.spec.layers[index - 1].name;
    return before.empty() ? Nodes{} : Nodes{{before, layer.place}};
  }
  std::vector<std::string> inputs;
  for (const InputSpec& input : sections.spec.inputs)
    if (input.dtype == DType::f32) inputs.push_back(input.name);
  if (inputs.size() == 1 && sections.unclear_inputs.empty()) {
    sections.read_inputs.insert(inputs[0]);
    return {{inputs[0], layer.place}};
  }
  if (!sections.names.complete() || !sections.unclear_inputs.empty()) return {};
  Diagnostic& diagnostic =
      sections.reading.error("E0304", layer.place, fmt::format("{}: \"from\" is missing", subject));
  if (inputs.empty())
    diagnostic.notes.emplace_back("the first layer reads the only f32 input, but there is none");
  else
    diagnostic.notes.push_back(fmt::format("the first layer reads the only f32 input, but there are {}: {}",
                                           inputs.size(), fmt::join(inputs, ", ")));
  diagnostic.help =
      "say what it reads, such as \"from\": " + quote(inputs.empty() ? sections.spec.inputs[0].name : inputs[0]);
  return {};
}

std::string subject_of(const LayerSpec& layer, std::size_t index) {
  return layer.name.empty() ? fmt::format("layers[{}]", index) : fmt::format("layer {}", quote(layer.name));
}

/// Depth first over the layers with an explicit stack: a chain may be thousands of layers long.
class CycleSearch {
 public:
  explicit CycleSearch(Sections& sections) : sections_(sections), states_(sections.spec.layers.size(), State::fresh) {}

  void run() {
    for (std::size_t i = 0; i < states_.size(); ++i)
      if (states_[i] == State::fresh) walk(i);
  }

 private:
  enum class State { fresh, open, done };
  struct Step {
    std::size_t layer, next = 0;
  };

  void walk(std::size_t first) {
    path_ = {{first}};
    states_[first] = State::open;
    while (!path_.empty()) {
      Step& step = path_.back();
      const auto& from = sections_.spec.layers[step.layer].from;
      if (step.next == from.size()) {
        states_[step.layer] = State::done;
        path_.pop_back();
        continue;
      }
      follow(from[step.next++]);
    }
  }

  void follow(const Located<std::string>& node) {
    const Names::Entry* entry = sections_.names.find(base_of(node.value));
    if (!entry || entry->kind != Names::Kind::layer) return;
    if (states_[entry->index] == State::open) report(entry->index, node.place);
    if (states_[entry->index] != State::fresh) return;
    states_[entry->index] = State::open;
    path_.push_back({entry->index});
  }

  void report(std::size_t start, const Place& place) {
    const auto& layers = sections_.spec.layers;
    const auto at = std::find_if(path_.begin(), path_.end(), [&](const Step& step) { return step.layer == start; });
    std::string cycle = layers[start].name;
    for (auto step = path_.end(); step != at;) cycle += " -> " + layers[(--step)->layer].name;
    sections_.reading.error("E0303", place, fmt::format("layers wait for each other: {}", cycle)).help =
        "an arrow points to the layer that reads; take one of the arrows out of \"from\"";
  }

  Sections& sections_;
  std::vector<State> states_;
  std::vector<Step> path_;
};

}  // namespace

Nodes read_from(Sections& sections, const std::string& subject, const OpDef* op, const Element& from) {
  const auto roles = op ? roles_of(*op) : std::vector<OperandDef>{};
  const auto refuse = [&](const std::string& what, const std::string& help) {
    sections.reading.error("E0305", from.place, fmt::format("{}: {}", subject, what)).help = help;
    return Nodes{};
  };
  if (from.is(Kind::object)) {
    if (!roles.empty()) return read_roles(sections, subject, roles, from);
    return op ? refuse(fmt::format("the inputs of {} have no roles, so \"from\" is no object", op->name),
                       is_variadic(*op) ? "write a list of nodes" : "write the node's name")
              : Nodes{};
  }
  if (!roles.empty() && (from.is(Kind::text) || from.is(Kind::list)))
    return refuse(fmt::format("the inputs of {} have roles, so \"from\" must be an object", op->name),
                  example_of(roles));
  if (!from.is(Kind::list)) {
    if (!from.is(Kind::text))
      sections.reading.error(
          "E0203", from.place,
          fmt::format("{}: \"from\" must be {}, found {}", subject,
                      roles.empty() ? "a node or a list of nodes" : "an object of nodes", describe(from)));
    else if (auto node = sections.node(subject, "from", from))
      return {*node};
    return {};
  }
  if (op && (is_variadic(*op) ? from.items.empty() : from.items.size() != 1))
    return refuse(fmt::format("{} reads {}, but \"from\" has {}", op->name,
                              is_variadic(*op) ? "one node or more" : "one node", from.items.size()),
                  is_variadic(*op) ? "" : "a layer such as concatenate or add makes one of several");
  return read_list(sections, subject, from);
}

void connect_layers(Sections& sections, const Element& layers) {
  std::size_t edges = 0;
  for (std::size_t i = 0; i < sections.spec.layers.size(); ++i) {
    LayerSpec& layer = sections.spec.layers[i];
    const Element& element = layers.items.at(i);
    if (!element.is(Kind::object)) continue;
    const Element* from = element.find("from");
    const std::string subject = subject_of(layer, i);
    const auto roles = layer.op ? roles_of(*layer.op) : std::vector<OperandDef>{};
    if (from)
      layer.from = read_from(sections, subject, layer.op, *from);
    else if (layer.places.contains("from"))
      continue;
    else if (roles.empty())
      layer.from = default_from(sections, subject, element, i);
    else
      sections.reading.error("E0305", layer.place, fmt::format("{}: {} needs \"from\"", subject, layer.op->name)).help =
          example_of(roles);
    edges += layer.from.size();
  }
  if (edges > limits::edges)
    sections.reading.error("E0104", layers.place,
                           fmt::format("the layers read {} nodes, at most {} are possible", edges, limits::edges));
  check_cycles(sections);
}

void check_cycles(Sections& sections) { CycleSearch(sections).run(); }

}  // namespace weir
