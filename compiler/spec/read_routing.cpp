// Words about who hears whom: a term's cuts and the layers it leaves alone, and layers that use another one's
// parameters.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/pattern.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

using Entries = std::vector<Located<std::string>>;

/// Adds what a pattern stands for; false where the item is none.
bool add_pattern(Sections& sections, const std::string& subject, std::string_view key, const Element& item,
                 Entries& entries) {
  if (!item.is(Kind::text) || !is_pattern(item.text)) return false;
  const Candidates candidates = key == "stop_at" ? node_candidates(sections, item.text) : owner_candidates(sections);
  for (std::string& name : expand(sections, subject, key, item, candidates)) {
    const auto is_it = [&](const auto& entry) { return entry.value == name; };
    if (std::none_of(entries.begin(), entries.end(), is_it)) entries.push_back({std::move(name), item.place});
  }
  return true;
}

/// Owners of parameters, by name.
Entries read_owners(Sections& sections, const std::string& subject, const ObjectReader& reader, std::string_view key) {
  Entries owners;
  const Element* list = reader.find(key);
  if (!list || !sections.reading.expect(*list, Kind::list, subject, key, "a list of layers, such as [\"conv_1\"]"))
    return owners;
  if (key == "only" && list->items.empty())
    sections.reading
        .error("E0204", list->place, fmt::format("{}: \"only\" is empty, so the term would train nothing", subject))
        .help = "leave it out, or give the term \"weight\": 0 to watch it";
  for (const Element& item : list->items) {
    if (add_pattern(sections, subject, key, item, owners)) continue;
    if (!sections.reading.expect(item, Kind::text, subject, key, "names of layers")) continue;
    const Names::Entry* entry = sections.names.find(item.text);
    if (entry && entry->kind == Names::Kind::layer) {
      owners.push_back({item.text, item.place});
      continue;
    }
    if (!entry && !sections.names.complete()) continue;
    sections.reading
        .error("E0301", item.place, fmt::format("{}: \"{}\" names an unknown layer {}", subject, key, quote(item.text)))
        .help = sections.names.help(sections.reading, item.text, "layers", {Names::Kind::layer});
  }
  return owners;
}

}  // namespace

void read_routing(Sections& sections, const std::string& subject, const ObjectReader& reader, TermSpec& term) {
  const Element* stop_at = reader.find("stop_at");
  if (stop_at && sections.reading.expect(*stop_at, Kind::list, subject, "stop_at", "a list of nodes"))
    for (const Element& item : stop_at->items) {
      if (add_pattern(sections, subject, "stop_at", item, term.stop_at)) continue;
      if (auto node = sections.node(subject, "stop_at", item)) term.stop_at.push_back(std::move(*node));
    }
  term.skip = read_owners(sections, subject, reader, "skip");
  term.only = read_owners(sections, subject, reader, "only");
  if (reader.has("skip") && reader.has("only"))
    sections.reading
        .error("E0421", reader.find("only")->place,
               fmt::format("{}: \"skip\" and \"only\" exclude each other", subject))
        .help = "\"only\" alone says which layers the term trains";
}

void check_shares(Sections& sections) {
  for (const LayerSpec& layer : sections.spec.layers) {
    if (layer.share.empty()) continue;
    const Place place = layer.places.find("share")->second;
    const std::string subject = fmt::format("layer {}", quote(layer.name));
    const auto refuse = [&](const std::string& what, std::string help) {
      sections.reading.error("E0422", place, fmt::format("{}: {}", subject, what)).help = std::move(help);
    };
    const Names::Entry* entry = sections.names.find(layer.share);
    if (!entry || entry->kind != Names::Kind::layer) {
      if (!entry && !sections.names.complete()) continue;
      sections.reading
          .error("E0301", place, fmt::format("{}: \"share\" names an unknown layer {}", subject, quote(layer.share)))
          .help = sections.names.help(sections.reading, layer.share, "layers", {Names::Kind::layer});
      continue;
    }
    const LayerSpec& owner = sections.spec.layers.at(entry->index);
    if (&owner == &layer || !owner.share.empty())
      refuse(fmt::format("{} owns no parameters", quote(layer.share)), "name the layer that owns them");
    else if (layer.op && owner.op && layer.op != owner.op)
      refuse(fmt::format("it is a {}, but {} is a {}", layer.op->name, quote(layer.share), owner.op->name),
             "layers that share parameters have one type");
    for (const auto& [key, at] : layer.places)
      if (key == "trainable" || key.ends_with("_initializer") || key.ends_with("_constraint") ||
          (key.ends_with("_regularizer") && key != "activity_regularizer"))
        sections.reading
            .error("E0422", at, fmt::format("{}: it owns no parameters, so \"{}\" says nothing here", subject, key))
            .help = fmt::format("write it at {}", quote(layer.share));
  }
}

}  // namespace weir
