// weir explain: which loss term trains which parameter, and why not; or what a diagnostic's code means.
#include "compiler/explain.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/explain_cost.hpp"
#include "compiler/cli/explain_drawing.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/diagnostic_codes.hpp"
#include "compiler/passes/passes.hpp"

namespace weir::cli {
namespace {

/// A letter and four digits, and no file of that name.
bool looks_like_a_code(const std::string& word) {
  const bool form = word.size() == 5 && std::string("EWew").find(word[0]) != std::string::npos &&
                    std::all_of(word.begin() + 1, word.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  std::error_code ignored;
  return form && !std::filesystem::exists(word, ignored);
}

int explain_code(const std::string& word, const Console& console) {
  const DiagnosticCode* code = find_diagnostic_code(word);
  if (!code) {
    std::vector<std::string> known;
    for (const DiagnosticCode& each : diagnostic_codes()) known.emplace_back(each.code);
    const std::string near = nearest(word, known);
    throw Error(ErrorCode::invalid_argument, fmt::format("there is no code {}{}; diagnostics show theirs in brackets",
                                                         word, near.empty() ? "" : ", did you mean " + near + "?"));
  }
  if (console.json)
    console.out << Json{{"code", code->code}, {"title", code->title}, {"article", code->article}}.dump(2) << '\n';
  else
    console.out << fmt::format("{}: {}\n\n{}\n", code->code, code->title, code->article);
  return done;
}

void check_name(const char* flag, const std::string& name, const char* what, const std::vector<std::string>& known) {
  if (name.empty() || std::find(known.begin(), known.end(), name) != known.end()) return;
  const std::string near = nearest(name, known);
  throw Error(ErrorCode::invalid_argument, fmt::format("{} {}: the specification has no {} of that name{}", flag, name,
                                                       what, near.empty() ? "" : ", did you mean \"" + near + "\"?"));
}

void check_names(const ExplainOptions& options, const Spec& spec) {
  std::vector<std::string> terms, layers, nodes;
  if (spec.loss)
    for (const TermSpec& term : spec.loss->terms) terms.push_back(term.name);
  for (const LayerSpec& layer : spec.layers) layers.push_back(layer.name);
  nodes = layers;
  for (const InputSpec& input : spec.inputs) nodes.push_back(input.name);
  check_name("--term", options.term, "loss term", terms);
  check_name("--without", options.without, "loss term", terms);
  check_name("--layer", options.layer, "layer", layers);
  check_name("--node", options.node, "node", nodes);
}

/// Terms by what they do with a node: read its value as their prediction or target, depend on it, send it a gradient.
Json node_json(const Explanation& all, const std::string& node) {
  Json json{{"name", node}, {"read_by", Json::array()}, {"depends", Json::array()}, {"hears", Json::array()}};
  const auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), node) != names.end();
  };
  for (const TermExplanation& term : all.terms) {
    const bool target = term.target == "node " + node || term.target == "input " + node;
    if (target || term.at.substr(0, term.at.find(':')) == node) json["read_by"].push_back(term.name);
    if (has(term.route.layers)) json["depends"].push_back(term.name);
    if (has(term.route.through) && term.role == TermRole::trained) json["hears"].push_back(term.name);
  }
  for (const MetricExplanation& metric : all.metrics)
    if (metric.at.substr(0, metric.at.find(':')) == node) json["read_by"].push_back(metric.name);
  return json;
}

std::string names_text(const Json& names) {
  std::string text;
  for (const Json& name : names) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  return text.empty() ? "none" : text;
}

std::string node_text(const Explanation& all, const std::string& node) {
  const Json json = node_json(all, node);
  return fmt::format("\nnode {}\n  read by: {}\n  terms that depend on it: {}\n  terms that send it a gradient: {}\n",
                     node, names_text(json["read_by"]), names_text(json["depends"]), names_text(json["hears"]));
}

/// A drawing has the terms and the parameters that the table has; what these flags add is text.
void check_drawable(const ExplainOptions& options) {
  if (options.as == "table") return;
  const auto refuse = [&](const char* flag, const char* what) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} with --as {}: {}; leave one of them out", flag, options.as, what));
  };
  if (looks_like_a_code(options.model.file)) refuse(options.model.file.c_str(), "an article is text");
  if (!options.node.empty()) refuse("--node", "a list of terms is no drawing");
  if (!options.without.empty()) refuse("--without", "a comparison is no drawing (--exclude draws the network without)");
}

std::string drawn(const Model& model, const Explanation& shown, const std::vector<TermCost>& costs) {
  Diagnostics ignored;  // explain has reported everything
  return explain_svg(make_diagram(model.spec, build_graph(model.spec, Mode::training, ignored), shown), shown, costs);
}

}  // namespace

int run_explain(const ExplainOptions& options, const Console& console) {
  check_drawable(options);
  if (looks_like_a_code(options.model.file)) return explain_code(options.model.file, console);
  const Model model = load_model(options.model, console, {}, false);
  Diagnostics diagnostics(model.file, model.text);
  const Explanation explanation = explain(model.spec, diagnostics);
  show(diagnostics, console);
  refuse_errors(diagnostics);
  check_names(options, model.spec);
  const Explanation shown = filtered(explanation, {options.term, options.layer});
  const auto costs = term_costs(model, options, explanation);
  if (options.as == "svg") {
    const std::string svg = drawn(model, shown, costs);
    console.out << (console.json ? Json{{"as", options.as}, {"text", svg}}.dump(2) + '\n' : svg);
    return done;
  }
  if (console.json) {
    Json json = Json::parse(to_json(shown));
    add_costs(json, costs, options.without);
    if (!options.node.empty()) json["node"] = node_json(explanation, options.node);
    console.out << json.dump(2) << '\n';
    return done;
  }
  console.out << to_text(shown) << costs_text(costs, shown, options.without);
  if (!options.node.empty()) console.out << node_text(explanation, options.node);
  return done;
}

}  // namespace weir::cli
