// What patterns of names stand for, decided once, when the file is read: everything behind the reader sees names.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/pattern.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

bool may_own_parameters(const LayerSpec& layer) {
  if (!layer.share.empty()) return false;
  const auto is_parameter = [](const OperandDef& operand) { return operand.kind == OperandKind::parameter; };
  return !layer.op || std::any_of(layer.op->operands.begin(), layer.op->operands.end(), is_parameter);
}

}  // namespace

std::vector<std::string> expand(Sections& sections, const std::string& subject, std::string_view key,
                                const Element& item, const Candidates& candidates) {
  if (++sections.patterns == limits::patterns + 1)
    sections.reading.error("E0104", item.place,
                           fmt::format("{}: more than {} patterns with *", subject, limits::patterns));
  if (sections.patterns > limits::patterns) return {};
  std::vector<std::string> found = matching(item.text, candidates.names);
  if (!found.empty() || !sections.names.complete()) return found;
  constexpr std::size_t few = 20;
  const std::string all = candidates.names.empty() || candidates.names.size() > few
                              ? ""
                              : fmt::format("{}: {}", candidates.what, fmt::join(candidates.names, ", "));
  sections.reading
      .error(candidates.code, item.place,
             fmt::format("{}: {} in \"{}\" matches none of the {}", subject, quote(item.text), key, candidates.what))
      .help = sections.reading.suggestion(without_stars(item.text), candidates.names, all);
  return {};
}

Candidates node_candidates(const Sections& sections, std::string_view pattern) {
  if (pattern.find(':') == std::string_view::npos)
    return {sections.names.all({Names::Kind::input, Names::Kind::layer}), "nodes", "E0301"};
  Candidates ports{{}, "ports", "E0301"};
  for (const LayerSpec& layer : sections.spec.layers)
    if (has_activation(layer)) ports.names.push_back(layer.name + ":linear");
  return ports;
}

Candidates owner_candidates(const Sections& sections) {
  Candidates owners{{}, "layers with parameters of their own", "E0301"};
  for (const LayerSpec& layer : sections.spec.layers)
    if (may_own_parameters(layer)) owners.names.push_back(layer.name);
  return owners;
}

Candidates excludable(const Sections& sections, std::string_view pattern) {
  Candidates all = node_candidates(sections, pattern);
  all.what = "nodes and terms";
  all.code = "E0405";
  const std::vector<std::string> terms = sections.names.all({Names::Kind::term});
  all.names.insert(all.names.end(), terms.begin(), terms.end());
  return all;
}

}  // namespace weir
