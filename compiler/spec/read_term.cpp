// One loss term or metric: what it compares, where, with what.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/schedules.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

/// Reads the target of one term; mistakes name the term.
class TargetReader {
 public:
  TargetReader(Sections& sections, const std::string& subject, const OpDef* op, bool metric)
      : sections_(sections), subject_(subject), op_(op), metric_(metric) {}

  TargetSpec read(const Element& element) {
    target_.place = element.place;
    if (element.is(Kind::text)) {
      expected(element,
               fmt::format("write {{\"{}\": {}}}", is_input(element.text) ? "input" : "node", quote(element.text)));
      return target_;
    }
    if (element.is_number())
      expected(element, fmt::format("write {{\"constant\": {}}}", describe(element)));
    else if (!element.is(Kind::object))
      expected(element, "such as {\"input\": \"label\"} or {\"constant\": 0}");
    else
      read_object(element);
    return target_;
  }

 private:
  Diagnostic& error(std::string_view code, const Place& place, const std::string& what) {
    return sections_.reading.error(code, place, fmt::format("{}: {}", subject_, what));
  }

  void expected(const Element& element, std::string help) {
    error("E0203", element.place, fmt::format("\"target\" must be an object, found {}", describe(element))).help =
        std::move(help);
  }

  bool is_input(std::string_view name) const {
    const Names::Entry* entry = sections_.names.find(name);
    return entry && entry->kind == Names::Kind::input;
  }

  void read_object(const Element& element) {
    const ObjectReader reader(sections_.reading, element, subject_ + ": target", target_keys());
    const Element *input = reader.find("input"), *constant = reader.find("constant"), *node = reader.find("node");
    const int given = (input != nullptr) + (constant != nullptr) + (node != nullptr);
    if (given > 1)
      error("E0411", element.place, "\"target\" has more than one of \"input\", \"constant\" and \"node\"").help =
          "keep one of them";
    if (given == 0 && !has_unknown_key(element))
      error("E0411", element.place, "\"target\" needs one of \"input\", \"constant\" and \"node\"").help =
          "such as {\"input\": \"label\"} or {\"constant\": 0}";
    if (given != 1) return;
    if (input) read_input(*input);
    if (constant) read_constant(reader);
    if (node) read_node_target(*node);
    if (reader.has("one_hot")) read_one_hot(reader, *element.find("one_hot"));
    if (reader.has("gradient") && reader.get<bool>("gradient")) read_gradient(*element.find("gradient"));
  }

  /// Only what the model computes can learn, and the loss must know the derivative by its target.
  void read_gradient(const Element& element) {
    if (metric_) {
      error("E0211", element.place, "a metric is only watched, so no gradient flows into its target").help =
          "leave \"gradient\" out; a loss term takes it";
    } else if (target_.kind == TargetSpec::Kind::input || target_.kind == TargetSpec::Kind::constant) {
      error("E0424", element.place, "a gradient can only flow into a target that is a node of the model").help =
          "leave \"gradient\" out, or write {\"node\": …, \"gradient\": true}";
    } else if (op_ && !op_->target_gradient) {
      std::vector<std::string_view> able;
      for (const OpDef* op : ops_table())
        if (op->target_gradient) able.push_back(op->name);
      error("E0424", element.place, fmt::format("{} gives no gradient of its target", op_->name)).help =
          fmt::format("these do: {}", fmt::join(able, ", "));
    } else {
      target_.gradient = target_.kind == TargetSpec::Kind::node;
    }
  }

  static bool has_unknown_key(const Element& element) {
    for (const Member& member : element.members)
      if (!is_free_key(member.key) && !find_key(target_keys(), member.key)) return true;
    return false;
  }

  void read_input(const Element& element) {
    if (!sections_.reading.expect(element, Kind::text, subject_, "input")) return;
    const Names::Entry* entry = sections_.names.find(base_of(element.text));
    if (!entry && !sections_.names.complete()) return;
    if (entry && entry->kind == Names::Kind::layer) {
      error("E0412", element.place,
            fmt::format("the target's \"input\" must be an input, but {} is a layer", quote(element.text)))
          .help = fmt::format("write {{\"node\": {}}}", quote(element.text));
    } else if (!entry || entry->kind == Names::Kind::term || element.text != base_of(element.text)) {
      error("E0301", element.place, fmt::format("\"target\" names an unknown input {}", quote(element.text))).help =
          sections_.names.help(sections_.reading, element.text, "inputs", {Names::Kind::input});
    } else {
      target_.kind = TargetSpec::Kind::input;
      target_.name = element.text;
      sections_.read_inputs.insert(element.text);
      check_dtype(element, sections_.spec.inputs.at(entry->index));
    }
  }

  void check_dtype(const Element& element, const InputSpec& input) {
    if (!op_ || !op_->integer_target || !sections_.is_surely(input, DType::f32)) return;
    error("E0414", element.place,
          fmt::format("{} compares with class numbers, but the input {} is f32", op_->name, quote(input.name)))
        .help = "declare the input with \"dtype\": \"i32\"";
  }

  void read_constant(const ObjectReader& reader) {
    target_.kind = TargetSpec::Kind::constant;
    target_.constant = reader.get<double>("constant");
  }

  void read_node_target(const Element& element) {
    if (element.is(Kind::text) && is_input(base_of(element.text))) {
      sections_.read_inputs.emplace(base_of(element.text));
      error("E0412", element.place,
            fmt::format("the target's \"node\" must be a layer, but {} is an input", quote(element.text)))
          .help = fmt::format("write {{\"input\": {}}}", quote(base_of(element.text)));
      return;
    }
    const auto node = sections_.node(subject_, "node", element);
    if (!node) return;
    target_.kind = TargetSpec::Kind::node;
    target_.name = node->value;
  }

  void read_one_hot(const ObjectReader& reader, const Element& element) {
    target_.one_hot = reader.get<std::int64_t>("one_hot");
    if (target_.one_hot == 0 || (target_.kind == TargetSpec::Kind::none && reader.has("input"))) return;
    const auto refuse = [&](const std::string& what, const std::string& help) {
      error("E0413", element.place, what).help = help;
    };
    if (op_ && op_->integer_target)
      return refuse(fmt::format("{} reads class numbers as they are, without \"one_hot\"", op_->name),
                    "leave \"one_hot\" out");
    if (!reader.has("input")) return refuse("\"one_hot\" needs an i32 input as the target", "leave it out");
    if (sections_.is_surely(sections_.spec.inputs.at(sections_.names.find(target_.name)->index), DType::f32))
      refuse(fmt::format("\"one_hot\" needs an i32 input, but {} is f32", quote(target_.name)),
             "declare the input with \"dtype\": \"i32\", or leave \"one_hot\" out if it has the class axis already");
  }

  Sections& sections_;
  const std::string& subject_;
  const OpDef* op_;
  bool metric_;
  TargetSpec target_ = {};
};

/// The op whose result the node directly is: its activation, or the layer itself; with its axis. Null: none, or not
/// understood.
struct Producer {
  const OpDef* op = nullptr;
  std::int64_t axis = -1;
  bool understood = true;
};

std::int64_t axis_of(const Attributes& attributes) { return attributes.has("axis") ? attributes.integer("axis") : -1; }

Producer producer_of(const Sections& sections, const std::string& node) {
  const Names::Entry* entry = sections.names.find(base_of(node));
  if (entry->kind != Names::Kind::layer) return {};
  const LayerSpec& layer = sections.spec.layers.at(entry->index);
  if (!layer.op) return {.understood = false};
  if (!has_activation(layer)) return {layer.op, axis_of(layer.attributes)};
  if (base_of(node).size() != node.size()) return {layer.op, axis_of(layer.attributes)};
  if (!layer.attributes.has("activation")) return {.understood = false};
  const OpDef* activation = find_op(layer.attributes.word("activation"));
  return {activation, axis_of(with_defaults(*activation, {}))};
}

/// The rules of `from_logits`: left out, the node must be the op whose logits the loss reads; true is for other nodes.
void check_logits(Sections& sections, const std::string& subject, const ObjectReader& reader, const TermSpec& term) {
  const std::string_view behind = term.op->logits_behind;
  const Element* key = reader.find("from_logits");
  if (behind.empty()) {
    if (key)
      sections.reading
          .error("E0415", key->place, fmt::format("{}: {} takes no \"from_logits\"", subject, term.op->name))
          .help = "leave it out";
    return;
  }
  const Producer producer = producer_of(sections, term.at.value);
  if (!producer.understood || (!term.from_logits && reader.meant("from_logits"))) return;
  const std::int64_t axis = axis_of(term.attributes);
  const bool direct = producer.op && producer.op->name == behind && (behind != "softmax" || producer.axis == axis);
  const std::string at = quote(term.at.value);
  if (!key && !direct) {
    Diagnostic& diagnostic = sections.reading.error(
        "E0415", term.at.place,
        fmt::format("{}: {} is not directly a {}, so it is unknown what it holds", subject, at, behind));
    if (producer.op && producer.op->name == behind)
      diagnostic.notes.push_back(
          fmt::format("the {} is along axis {}, the loss along axis {}", behind, producer.axis, axis));
    diagnostic.help = fmt::format(
        "give that layer \"activation\": \"{}\", or add \"from_logits\": true (logits) or false (probabilities)",
        behind);
  } else if (term.from_logits.value_or(false) && direct) {
    sections.reading
        .error("E0415", key->place,
               fmt::format("{}: {} is a {}, so it holds probabilities, not logits", subject, at, behind))
        .help = "leave \"from_logits\" out: the logits behind it are used anyway";
  }
}

void read_weight(Reading& reading, const ObjectReader& reader, TermSpec& term) {
  const Element* weight = reader.find("weight");
  if (!weight) return;
  if (!weight->is(Kind::object)) {
    term.weight = {reader.get<double>("weight"), weight->place};
    return;
  }
  term.schedule = read_schedule(reading, reader.subject(), find_key(term_keys(), "weight")->value, *weight);
  term.weight = {term.schedule ? value_at(*term.schedule, 0) : 1.0, weight->place};
}

void read_target(Sections& sections, const std::string& subject, const ObjectReader& reader, TermSpec& term,
                 bool metric) {
  const Element* target = reader.find("target");
  if (target && term.op && term.op->no_target) {
    sections.reading.error("E0411", target->place, fmt::format("{}: {} takes no target", subject, term.op->name)).help =
        "leave \"target\" out";
  } else if (target) {
    term.target = TargetReader(sections, subject, term.op, metric).read(*target);
  } else if (term.op && !term.op->no_target && !reader.meant("target")) {
    sections.reading.error("E0202", reader.object().place, fmt::format("{}: \"target\" is missing", subject)).help =
        "such as {\"input\": \"label\"} or {\"constant\": 0}";
  }
}

const OpDef* read_type(Sections& sections, const std::string& subject, const Element& type, bool metric) {
  if (!metric) return read_op(sections.reading, subject, type, "loss", {Role::loss}, LaterWords::losses());
  std::vector<std::string_view> later = LaterWords::metrics();
  later.insert(later.end(), LaterWords::losses().begin(), LaterWords::losses().end());
  return read_op(sections.reading, subject, type, "metric", {Role::metric, Role::loss}, later);
}

}  // namespace

TermSpec read_term(Sections& sections, const Member& member, bool metric) {
  Reading& reading = sections.reading;
  const std::string subject = fmt::format("{} {}", metric ? "metric" : "loss term", quote(member.key));
  TermSpec term;
  term.name = member.key;
  term.place = member.place;
  const Element& element = member.value;
  if (!element.is(Kind::object)) {
    reading.error("E0203", element.place, fmt::format("{} must be an object, found {}", subject, describe(element)))
        .help = "such as {\"type\": \"mean_squared_error\", \"at\": \"output\", \"target\": {\"input\": \"y\"}}";
    return term;
  }
  if (const Element* type = element.find("type")) term.op = read_type(sections, subject, *type, metric);
  const ObjectReader reader(reading, element, subject, metric ? metric_keys() : term_keys(), term.op);
  term.attributes = reader.attributes();
  if (!metric) {
    read_weight(reading, reader, term);
    term.attributes.set("reduction", reader.get<std::string>("reduction"));
    read_routing(sections, subject, reader, term);
  }
  if (const Element* from_logits = reader.find("from_logits"))
    if (const auto value = read_value(reading, subject, find_key(term_keys(), "from_logits")->value, *from_logits))
      term.from_logits = std::get<bool>(*value);
  read_target(sections, subject, reader, term, metric);
  read_entry_weights(sections, subject, reader, term);
  const Element* at = reader.find("at");
  auto node = at ? sections.node(subject, "at", *at) : std::nullopt;
  if (node) term.at = std::move(*node);
  if (node && term.op) check_logits(sections, subject, reader, term);
  const bool by_profile = sections.spec.numerics == "keras-probabilities" && !term.from_logits;
  if (by_profile && term.op && !term.op->logits_behind.empty()) term.from_logits = false;
  return term;
}

}  // namespace weir
