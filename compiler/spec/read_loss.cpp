// The loss section: terms, what is left out of them, and whether anything is left.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/pattern.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

/// Whether an entry of `exclude` names this term: by its name, its node, or the layer of its port.
bool covers(const std::string& entry, const TermSpec& term) {
  return entry == term.name || entry == term.at.value || entry == base_of(term.at.value);
}

void read_terms(Sections& sections, const Element& terms) {
  if (!sections.reading.expect(terms, Kind::object, "loss", "terms", "losses by name")) return sections.names.miss();
  std::vector<const Member*> members;
  for (const Member& member : terms.members)
    if (!is_free_key(member.key)) members.push_back(&member);
  if (members.size() > limits::terms)
    sections.reading.error("E0104", terms.place,
                           fmt::format("loss: {} terms, at most {} are possible", members.size(), limits::terms));
  members.resize(std::min(members.size(), limits::terms));
  for (std::size_t i = 0; i < members.size(); ++i)
    sections.names.declare(sections.reading, members[i]->key, members[i]->place, Names::Kind::term, i);
  for (const Member* member : members) sections.spec.loss->terms.push_back(read_term(sections, *member, false));
}

void warn_without_term(Sections& sections, const Element& item) {
  if (sections.reading.full()) return;
  std::set<std::string> nodes;
  for (const TermSpec& term : sections.spec.loss->terms)
    if (!term.at.value.empty()) nodes.insert(term.at.value);
  Diagnostic& diagnostic = sections.reading.warning(
      "W0401", item.place, fmt::format("loss: \"exclude\" names {}, where no loss term is attached", quote(item.text)));
  if (!nodes.empty() && nodes.size() <= 20)
    diagnostic.notes.push_back(fmt::format("nodes with a loss term: {}", fmt::join(nodes, ", ")));
  diagnostic.help = "take it out of the list";
}

bool has_term(const LossSpec& loss, const std::string& entry) {
  return std::any_of(loss.terms.begin(), loss.terms.end(), [&](const TermSpec& term) { return covers(entry, term); });
}

bool is_understood(const LossSpec& loss) {
  return std::none_of(loss.terms.begin(), loss.terms.end(), [](const TermSpec& term) { return term.at.value.empty(); });
}

/// Of what the pattern matches, that which leaves some term out.
void exclude_matching(Sections& sections, const Element& item) {
  LossSpec& loss = *sections.spec.loss;
  const std::vector<std::string> found = expand(sections, "loss", "exclude", item, excludable(sections, item.text));
  bool used = false;
  for (const std::string& name : found) {
    if (!has_term(loss, name)) continue;
    used = true;
    const auto is_it = [&](const auto& entry) { return entry.value == name; };
    if (std::none_of(loss.exclude.begin(), loss.exclude.end(), is_it)) loss.exclude.push_back({name, item.place});
  }
  if (!found.empty() && !used && is_understood(loss)) warn_without_term(sections, item);
}

void read_excluded(Sections& sections, const Element& item) {
  Reading& reading = sections.reading;
  if (!reading.expect(item, Kind::text, "loss", "exclude", "names of nodes or loss terms")) return;
  if (is_pattern(item.text)) return exclude_matching(sections, item);
  auto& loss = *sections.spec.loss;
  const Names::Entry* entry = sections.names.find(item.text);
  if (!entry && item.text == base_of(item.text)) {
    if (!sections.names.complete()) return;
    reading
        .error("E0405", item.place, fmt::format("loss: \"exclude\" names an unknown node or term {}", quote(item.text)))
        .help = sections.names.help(reading, item.text, "nodes and terms",
                                    {Names::Kind::term, Names::Kind::layer, Names::Kind::input});
    return;
  }
  if (!entry && !read_node(reading, sections.names, sections.spec.layers, "loss", "exclude", item)) return;
  if (!has_term(loss, item.text) && is_understood(loss)) warn_without_term(sections, item);
  loss.exclude.push_back({item.text, item.place});
}

void check_something_is_left(Sections& sections, const Place& place) {
  const LossSpec& loss = *sections.spec.loss;
  for (const TermSpec& term : loss.terms) {
    const bool excluded = std::any_of(loss.exclude.begin(), loss.exclude.end(),
                                      [&](const auto& entry) { return covers(entry.value, term); });
    if (!excluded && (term.schedule || term.weight.value != 0)) return;
  }
  const char* message = loss.terms.empty()
                            ? "loss: there is no term, so there is nothing to train"
                            : "loss: every term is excluded or has weight 0, so there is nothing to train";
  sections.reading.error("E0401", place, message).help = "keep one term with a weight above 0, or leave \"train\" out";
}

}  // namespace

void read_loss(Sections& sections, const Element& element, bool training) {
  if (!sections.reading.expect(element, Kind::object, "spec", "loss")) return sections.names.miss();
  sections.spec.loss.emplace();
  sections.spec.loss->place = element.place;
  const ObjectReader reader(sections.reading, element, "loss", loss_keys());
  const Element *terms = reader.find("terms"), *exclude = reader.find("exclude");
  if (terms)
    read_terms(sections, *terms);
  else
    sections.names.miss();
  sections.spec.loss->unreached = reader.get<std::string>("unreached");
  sections.spec.loss->combine = reader.get<std::string>("combine");
  if (exclude && sections.reading.expect(*exclude, Kind::list, "loss", "exclude",
                                         "a list of nodes or loss terms, such as [\"output\"]"))
    for (const Element& item : exclude->items) read_excluded(sections, item);
  if (training && terms && terms->is(Kind::object))
    check_something_is_left(sections, exclude ? exclude->place : terms->place);
}

}  // namespace weir
