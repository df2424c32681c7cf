#include "compiler/explain.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

using Names = std::vector<std::string>;

std::string target_text(const TargetSpec& target) {
  switch (target.kind) {
    case TargetSpec::Kind::none:
      return "";
    case TargetSpec::Kind::input:
      return "input " + target.name;
    case TargetSpec::Kind::constant:
      return shortest(target.constant);
    case TargetSpec::Kind::node:
      return "node " + target.name + (target.gradient ? ", which learns too" : "");
  }
  return "";
}

/// Names of the parameters that `from` is computed from, in the graph's order.
Names parameters_behind(const Graph& graph, ValueId from) {
  std::vector<bool> seen(graph.values.size());
  std::vector<ValueId> open{from};
  while (!open.empty()) {
    const ValueId id = open.back();
    open.pop_back();
    if (id == none || seen[static_cast<std::size_t>(id)]) continue;
    seen[static_cast<std::size_t>(id)] = true;
    const NodeId producer = graph.at(id).producer;
    if (producer == none) continue;
    const auto& operands = graph.node(producer).operands;
    open.insert(open.end(), operands.begin(), operands.end());
  }
  Names names;
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    if (seen[i] && graph.values[i].kind == ValueKind::parameter) names.push_back(graph.values[i].name);
  return names;
}

/// The terms with their roles. That nothing is left to train is no error here: it is what the report is about.
TrainingGraph attach_all(const Spec& spec, const Graph& graph, Diagnostics& diagnostics) {
  Diagnostics found;
  TrainingGraph training = attach_losses(spec, graph, found);
  for (const Diagnostic& each : found.all())
    if (each.severity == Severity::error && each.code != "E0401")
      diagnostics.error(each.code, each.place, each.message).help = each.help;
  return training;
}

/// Differentiates it; the terms in it are the one in question.
Names parameters_reached(TrainingGraph alone) {
  const TrainingGraph training = differentiate(std::move(alone));
  Names names;
  for (const auto& [parameter, gradient] : training.gradients) names.push_back(training.graph.at(parameter).name);
  return names;
}

void add_missing(Names& names, const Names& more) {
  for (const std::string& name : more)
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

/// "crossentropy of the logits behind softmax output: output -> dense_1 -> hidden; stops at hidden (stop_at …)"
std::string route_sentence(const TermExplanation& term) {
  const TermRoute& route = term.route;
  std::string text = route.reads.empty() ? "" : fmt::format("{} of {}: ", term.type, route.reads);
  if (route.through.empty())
    text += "its gradient passes no layer";
  else
    text += fmt::format("{}", fmt::join(route.through, route.chain ? " -> " : ", "));
  if (!route.ends.empty()) text += fmt::format("; stops {}", fmt::join(route.ends, "; "));
  return text;
}

TermExplanation explain_term(const Spec& spec, const Graph& graph, const TermSpec& term, const LossTerm& resolved,
                             std::size_t index) {
  TermExplanation result;
  result.name = term.name;
  result.type = term.op->name;
  result.at = term.at.value;
  result.target = target_text(term.target);
  result.role = resolved.role;
  result.weight = term.weight.value;
  if (term.schedule) result.schedule = to_string(*term.schedule);
  result.excluded_by = resolved.excluded_by;
  result.behind = parameters_behind(graph, graph.find(term.at.value));
  if (term.target.gradient) add_missing(result.behind, parameters_behind(graph, graph.find(term.target.name)));
  Diagnostics ignored;
  TrainingGraph alone = attach_losses(spec, graph, ignored, term.name);
  result.route = describe_route(alone, index);
  result.route_text = route_sentence(result);
  result.reaches = parameters_reached(std::move(alone));
  return result;
}

/// `whole`: where its node is.
TermExplanation explain_regularizer(const Spec& spec, const Graph& graph, const LossTerm& resolved,
                                    const Graph& whole) {
  TermExplanation result;
  result.name = resolved.name;
  for (const LayerSpec& layer : spec.layers)
    for (const ParameterRule& rule : layer.regularizers)
      if (rule.name == resolved.name) result.type = rule.op->name;
  result.learned_weight = result.type.empty();
  if (result.learned_weight) result.type = whole.node(resolved.node).op->name;
  result.at = graph.at(resolved.at).name;
  result.role = resolved.role;
  result.excluded_by = resolved.excluded_by;
  result.behind = parameters_behind(graph, resolved.at);
  Diagnostics ignored;
  TrainingGraph alone = attach_losses(spec, graph, ignored, resolved.name);
  for (std::size_t i = 0; i < alone.terms.size(); ++i)
    if (alone.terms[i].name == resolved.name) result.route = describe_route(alone, i);
  const bool of_parameter = graph.at(resolved.at).kind == ValueKind::parameter;
  result.route_text = of_parameter ? "the parameter itself" : route_sentence(result);
  result.reaches = parameters_reached(std::move(alone));
  return result;
}

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Influence influence_of(const TermExplanation& term, const std::string& parameter) {
  if (!contains(term.reaches, parameter))
    return contains(term.behind, parameter) ? Influence::blocked : Influence::unrelated;
  switch (term.role) {
    case TermRole::trained:
      return Influence::trained;
    case TermRole::watched:
      return Influence::watched;
    case TermRole::excluded:
      return Influence::excluded;
  }
  return Influence::unrelated;
}

/// The reason in a cell of the table.
std::string reason_of(const TermExplanation& term, const std::string& parameter, Influence influence) {
  if (influence != Influence::blocked)
    return influence == Influence::unrelated ? "" : std::string(to_string(influence));
  const auto found = term.route.obstacles.find(parameter);
  return found == term.route.obstacles.end() ? "blocked" : found->second;
}

std::string why_not(const TermExplanation& term, Influence influence, const std::string& reason) {
  switch (influence) {
    case Influence::excluded:
      return fmt::format("{} is excluded by \"{}\"", term.name, term.excluded_by);
    case Influence::watched:
      return fmt::format("{} has weight 0 and is only watched", term.name);
    case Influence::blocked:
      return fmt::format("no gradient of {} gets that far: {}", term.name, reason);
    default:
      return "";
  }
}

std::string reason_untrained(const Explanation& all, const ParameterExplanation& parameter) {
  Names reasons;
  for (const TermExplanation& term : all.terms) {
    const Influence influence = parameter.influences.at(term.name);
    if (influence != Influence::unrelated) reasons.push_back(why_not(term, influence, parameter.reasons.at(term.name)));
  }
  if (reasons.empty()) reasons.push_back("no term's node depends on it");
  Names metrics;
  for (const MetricExplanation& metric : all.metrics)
    if (contains(metric.behind, parameter.name)) metrics.push_back(metric.name);
  if (!metrics.empty())
    reasons.push_back(fmt::format("read by metric {}, and a metric trains nothing", fmt::join(metrics, ", ")));
  return fmt::format("trained by no loss: {}", fmt::join(reasons, "; "));
}

ParameterExplanation explain_parameter(const Explanation& all, const Value& value) {
  ParameterExplanation result{value.name, value.layer, value.type.dims, {}, {}, false, {}};
  Names trained_by;
  for (const TermExplanation& term : all.terms) {
    const Influence influence = influence_of(term, value.name);
    result.influences[term.name] = influence;
    result.reasons[term.name] = reason_of(term, value.name, influence);
    if (influence == Influence::trained) trained_by.push_back(term.name);
  }
  result.trained = !trained_by.empty();
  result.reason =
      result.trained ? fmt::format("trained by {}", fmt::join(trained_by, ", ")) : reason_untrained(all, result);
  return result;
}

std::string numbers(std::int64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

std::string of_parameters(const Names& names) {
  if (names.empty()) return "nothing: no parameter that can learn stands behind it";
  return fmt::format("{} parameter{}: {}", names.size(), names.size() == 1 ? "" : "s", fmt::join(names, ", "));
}

std::string role_sentence(const TermExplanation& term) {
  switch (term.role) {
    case TermRole::excluded:
      return fmt::format("    excluded by \"{}\": not computed, trains nothing; it would train {}\n", term.excluded_by,
                         of_parameters(term.reaches));
    case TermRole::watched:
      return fmt::format("    weight 0: its value is reported, its contribution is exactly 0; it would train {}\n",
                         of_parameters(term.reaches));
    case TermRole::trained:
      break;
  }
  return fmt::format("    trains {}\n", of_parameters(term.reaches));
}

std::string term_sentences(const TermExplanation& term) {
  std::string text = fmt::format("  {}: {} at {}", term.name, term.type, term.at);
  if (!term.target.empty()) text += " against " + term.target;
  text += fmt::format(", weight {}\n", term.schedule.empty() ? shortest(term.weight) : term.schedule);
  return text + role_sentence(term) + fmt::format("    way back: {}\n", term.route_text);
}

std::string influence_cell(const std::string& reason) { return reason.empty() ? "-" : reason; }

/// Of a column: as wide as its widest cell.
std::size_t column_width(const Explanation& all, const TermExplanation& term) {
  std::size_t width = std::max<std::size_t>(8, term.name.size());
  for (const auto& parameter : all.parameters) width = std::max(width, parameter.reasons.at(term.name).size());
  return width;
}

std::string influence_row(const std::string& name, std::size_t name_width, const std::string& count, const Names& cells,
                          const Explanation& all) {
  std::string text = fmt::format("{:<{}}  {:>10}", name, name_width, count);
  for (std::size_t i = 0; i < cells.size(); ++i)
    text += fmt::format("  {:<{}}", cells[i], column_width(all, all.terms[i]));
  return text.substr(0, text.find_last_not_of(' ') + 1) + '\n';
}

std::string influence_table(const Explanation& all) {
  std::size_t name_width = 9;
  for (const auto& parameter : all.parameters) name_width = std::max(name_width, parameter.name.size());
  Names heading;
  for (const auto& term : all.terms) heading.push_back(term.name);
  std::string text = influence_row("parameter", name_width, "numbers", heading, all);
  for (const auto& parameter : all.parameters) {
    Names cells;
    for (const auto& term : all.terms) cells.push_back(influence_cell(parameter.reasons.at(term.name)));
    text += influence_row(parameter.name, name_width, numbers(element_count(parameter.dims)), cells, all);
  }
  return text;
}

/// Parameters that share a reason stand in one sentence.
std::string untrained_sentences(const Explanation& all) {
  std::vector<std::pair<std::string, Names>> groups;
  for (const auto& parameter : all.parameters) {
    if (parameter.trained) continue;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == parameter.reason; });
    if (group == groups.end()) group = groups.insert(group, {parameter.reason, {}});
    group->second.push_back(parameter.name);
  }
  std::string text;
  for (const auto& [reason, names] : groups)
    text += fmt::format("{} {} {}\n", fmt::join(names, ", "), names.size() == 1 ? "is" : "are", reason);
  return text;
}

std::int64_t learned_count(const Explanation& all) {
  return std::count_if(all.terms.begin(), all.terms.end(), [](const auto& term) { return term.learned_weight; });
}

std::string sweeps_text(const Sweeps& sweeps) {
  if (sweeps.count == 0) return "";
  std::string text = fmt::format("reverse sweeps: {}\n", sweeps.count);
  for (const auto& [value, groups] : sweeps.partings)
    text += fmt::format("  {} gradients at {}: {}\n", groups.size(), value, fmt::join(groups, " | "));
  return text;
}

nlohmann::ordered_json term_json(const TermExplanation& term) {
  static constexpr const char* roles[] = {"trained", "watched", "excluded"};
  nlohmann::ordered_json json{{"name", term.name}, {"type", term.type}, {"at", term.at}};
  json["target"] = term.target.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(term.target);
  json["weight"] = term.weight;
  if (!term.schedule.empty()) json["schedule"] = term.schedule;
  json["role"] = roles[static_cast<int>(term.role)];
  if (term.role == TermRole::excluded) json["excluded_by"] = term.excluded_by;
  json["trains"] = term.role == TermRole::trained ? term.reaches : Names{};
  json["reaches"] = term.reaches;
  json["behind"] = term.behind;
  json["reads"] = term.route.reads;
  json["through"] = term.route.through;
  json["ends"] = term.route.ends;
  return json;
}

nlohmann::ordered_json parameter_json(const Explanation& all, const ParameterExplanation& parameter) {
  nlohmann::ordered_json json{{"name", parameter.name}, {"layer", parameter.layer}, {"shape", parameter.dims}};
  json["terms"] = nlohmann::ordered_json::object();
  for (const auto& term : all.terms) json["terms"][term.name] = to_string(parameter.influences.at(term.name));
  json["reasons"] = nlohmann::ordered_json::object();
  for (const auto& term : all.terms) json["reasons"][term.name] = parameter.reasons.at(term.name);
  json["trained"] = parameter.trained;
  json["reason"] = parameter.reason;
  return json;
}

}  // namespace

std::string_view to_string(Influence influence) {
  switch (influence) {
    case Influence::trained:
      return "trained";
    case Influence::excluded:
      return "excluded";
    case Influence::watched:
      return "watched";
    case Influence::blocked:
      return "blocked";
    case Influence::unrelated:
      return "unrelated";
  }
  return "";
}

Explanation explain(const Spec& spec, Diagnostics& diagnostics) {
  const Graph graph = build_graph(spec, Mode::training, diagnostics);
  Explanation all;
  all.model = spec.name;
  if (diagnostics.has_errors()) return all;
  all.profiles = profile_differences(spec);
  if (spec.loss) {
    const TrainingGraph training = attach_all(spec, graph, diagnostics);
    all.normalized = training.normalized;
    all.uncertain = training.uncertain;
    if (diagnostics.has_errors()) return all;
    for (std::size_t i = 0; i < spec.loss->terms.size(); ++i)
      all.terms.push_back(explain_term(spec, graph, spec.loss->terms[i], training.terms.at(i), i));
    for (const LossTerm& term : training.terms)
      if (term.regularizer) all.terms.push_back(explain_regularizer(spec, graph, term, training.graph));
    all.sweeps = count_sweeps(training);
  }
  if (spec.train)
    for (const TermSpec& metric : spec.train->metrics)
      all.metrics.push_back({metric.name, std::string(metric.op->name), metric.at.value,
                             parameters_behind(graph, graph.find(metric.at.value))});
  for (const Value& value : graph.values)
    if (value.kind == ValueKind::parameter) all.parameters.push_back(explain_parameter(all, value));
  return all;
}

Explanation filtered(Explanation all, const ExplainFilter& filter) {
  if (!filter.term.empty())
    std::erase_if(all.terms, [&](const TermExplanation& term) { return term.name != filter.term; });
  if (!filter.layer.empty())
    std::erase_if(all.parameters, [&](const ParameterExplanation& each) { return each.layer != filter.layer; });
  return all;
}

std::string to_text(const Explanation& all) {
  std::string text;
  if (all.terms.empty())
    text += "The specification has no loss: nothing is trained.\n";
  else
    text += "loss terms\n";
  for (const TermExplanation& term : all.terms) text += term_sentences(term);
  if (all.normalized) text += "  in each step the weights of the trained terms are divided by their sum\n";
  if (all.uncertain)
    text += fmt::format(
        "  weights are learned: each trained term L counts weight · (a · exp(-s) · L + s/2), s its log_variance, a 1 "
        "for "
        "classes and 1/2 for numbers; that costs {} number{} to train and no further sweep\n",
        learned_count(all), learned_count(all) == 1 ? "" : "s");
  text += sweeps_text(all.sweeps);
  if (!all.metrics.empty()) text += "metrics (they never train)\n";
  for (const MetricExplanation& metric : all.metrics)
    text += fmt::format("  {}: {} at {}\n", metric.name, metric.type, metric.at);
  if (all.parameters.empty()) return text;
  text += '\n' + influence_table(all);
  const std::string untrained = untrained_sentences(all);
  if (!untrained.empty() && !all.terms.empty()) text += '\n' + untrained;
  if (const std::string profiles = to_text(all.profiles); !profiles.empty()) text += '\n' + profiles;
  return text;
}

std::string to_json(const Explanation& all) {
  nlohmann::ordered_json json;
  json["model"] = all.model;
  if (all.normalized) json["combine"] = "normalized";
  if (all.uncertain) json["combine"] = "uncertainty";
  for (const char* list : {"terms", "metrics", "parameters"}) json[list] = nlohmann::ordered_json::array();
  for (const auto& term : all.terms) json["terms"].push_back(term_json(term));
  for (const auto& metric : all.metrics)
    json["metrics"].push_back(
        {{"name", metric.name}, {"type", metric.type}, {"at", metric.at}, {"behind", metric.behind}});
  for (const auto& parameter : all.parameters) json["parameters"].push_back(parameter_json(all, parameter));
  json["profiles"] = nlohmann::ordered_json::array();
  for (const auto& one : all.profiles)
    json["profiles"].push_back(
        {{"profile", one.profile}, {"where", one.where}, {"what", one.what}, {"here", one.here}, {"there", one.there}});
  json["sweeps"]["count"] = all.sweeps.count;
  json["sweeps"]["partings"] = nlohmann::ordered_json::object();
  for (const auto& [value, groups] : all.sweeps.partings) json["sweeps"]["partings"][value] = groups;
  return json.dump(2);
}

}  // namespace weir
