// What weighs the entries of a loss or metric: sample_weight, mask, class_weight, ignore_class.
#include <fmt/format.h>

#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

class WeightsReader {
 public:
  WeightsReader(Sections& sections, const std::string& subject, const ObjectReader& reader, const OpDef* op)
      : sections_(sections), subject_(subject), reader_(reader), op_(op) {}

  std::optional<Located<std::string>> read(std::string_view key) {
    const Element* element = reader_.find(key);
    if (!element) return std::nullopt;
    if (op_ && !takes_weights()) {
      error("E0416", element->place, fmt::format("{} takes no \"{}\"", op_->name, key)).help =
          "its value is one number for the whole batch; leave the key out";
      return std::nullopt;
    }
    if (!element->is(Kind::object)) {
      error("E0203", element->place, fmt::format("\"{}\" must be an object, found {}", key, describe(*element))).help =
          "such as {\"input\": \"" + std::string(key == "mask" ? "valid" : "weights") + "\"}";
      return std::nullopt;
    }
    const ObjectReader object(sections_.reading, *element, fmt::format("{}: {}", subject_, key), weights_keys());
    const Element* input = object.find("input");
    return input ? input_of(key, *input) : std::nullopt;
  }

 private:
  Diagnostic& error(std::string_view code, const Place& place, const std::string& what) {
    return sections_.reading.error(code, place, fmt::format("{}: {}", subject_, what));
  }

  bool takes_weights() const {
    for (const OperandDef& operand : op_->operands)
      if (operand.name == "entry_weights") return true;
    return false;
  }

  std::optional<Located<std::string>> input_of(std::string_view key, const Element& element) {
    if (!sections_.reading.expect(element, Kind::text, subject_, "input")) return std::nullopt;
    const Names::Entry* entry = sections_.names.find(base_of(element.text));
    if (!entry && !sections_.names.complete()) return std::nullopt;
    if (entry && entry->kind == Names::Kind::layer) {
      error("E0412", element.place, fmt::format("\"{}\" must be an input, but {} is a layer", key, quote(element.text)))
          .help = "name an input that holds them";
    } else if (!entry || entry->kind == Names::Kind::term || element.text != base_of(element.text)) {
      error("E0301", element.place, fmt::format("\"{}\" names an unknown input {}", key, quote(element.text))).help =
          sections_.names.help(sections_.reading, element.text, "inputs", {Names::Kind::input});
    } else {
      sections_.read_inputs.insert(element.text);
      return Located<std::string>{element.text, element.place};
    }
    return std::nullopt;
  }

  Sections& sections_;
  const std::string& subject_;
  const ObjectReader& reader_;
  const OpDef* op_;
};

/// Classes of a constant target are all the same: then there is nothing to tell apart.
void check_classes(Sections& sections, const std::string& subject, const ObjectReader& reader, const TermSpec& term) {
  if (term.target.kind != TargetSpec::Kind::constant) return;
  for (const std::string_view key : {"class_weight", "ignore_class"})
    if (term.attributes.has(key))
      sections.reading
          .error("E0416", reader.object().find(key)->place,
                 fmt::format("{}: \"{}\" needs a target of classes, but the target is a constant", subject, key))
          .help = "leave it out; \"weight\" scales the whole term";
}

}  // namespace

void read_entry_weights(Sections& sections, const std::string& subject, const ObjectReader& reader, TermSpec& term) {
  WeightsReader weights(sections, subject, reader, term.op);
  term.sample_weight = weights.read("sample_weight");
  term.mask = weights.read("mask");
  check_classes(sections, subject, reader, term);
  const bool by_weights =
      term.attributes.is_word("reduction") && term.attributes.word("reduction") == "mean_with_sample_weight";
  if (by_weights && !reader.meant("sample_weight"))
    sections.reading
        .error("E0416", reader.object().find("reduction")->place,
               fmt::format("{}: the reduction mean_with_sample_weight needs a \"sample_weight\"", subject))
        .help = "add \"sample_weight\": {\"input\": NAME}, or use \"mean\"";
  if (!term.attributes.has("class_weight") || sections.spec.numerics != "pytorch") return;
  term.attributes.set("numerics", std::string("pytorch"));  // a mean divides by the sum of the class weights
  if (term.op && term.op->class_target && term.attributes.has("label_smoothing") &&
      term.attributes.number("label_smoothing") != 0)
    sections.reading
        .error("E0210", reader.object().find("label_smoothing")->place,
               fmt::format("{}: label_smoothing beside class_weight in profile pytorch is not supported yet", subject))
        .help = "PyTorch weighs what smoothing adds by its own class; leave one out, or take another profile";
}

}  // namespace weir
