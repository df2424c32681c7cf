#include "compiler/cli/explain_cost.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir::cli {
namespace {

/// Zero where nothing is left to train; other mistakes were told before.
StepCost step_cost(const Model& model, const ExplainOptions& flags, const std::string& without) {
  CompileOptions options{.name = model.stem, .threads = flags.model.threads};
  options.evaluate = options.predict = false;
  options.exclude = model.overrides.exclude;
  options.set = model.overrides.set;
  if (!without.empty()) options.exclude.push_back(without);
  const Compiled compiled = compile(model.text, options);
  if (!compiled.plan || compiled.plan->programs.empty()) return {};
  const Program& program = compiled.plan->programs.front();
  StepCost result{cost_of(*compiled.plan, program), program.arena_bytes, {}};
  for (const Parameter& parameter : compiled.plan->parameters)
    if (parameter.trained) result.trained.push_back(parameter.name);
  return result;
}

std::vector<std::string> stopped(const TermCost& cost) {
  std::vector<std::string> names;
  for (const std::string& name : cost.with.trained)
    if (std::find(cost.without.trained.begin(), cost.without.trained.end(), name) == cost.without.trained.end())
      names.push_back(name);
  return names;
}

std::string signed_count(double difference) { return fmt::format("{:.4g}", difference); }

double saved_bytes(const TermCost& cost) {
  return static_cast<double>(cost.with.cost.bytes) - static_cast<double>(cost.without.cost.bytes);
}

Json difference_json(const TermCost& cost) {
  const auto both = [](auto with, auto without) { return Json{{"with", with}, {"without", without}}; };
  return {{"term", cost.term},
          {"steps", both(cost.with.cost.steps, cost.without.cost.steps)},
          {"flops", both(cost.with.cost.flops, cost.without.cost.flops)},
          {"bytes", both(cost.with.cost.bytes, cost.without.cost.bytes)},
          {"arena", both(cost.with.arena_bytes, cost.without.arena_bytes)},
          {"stop_training", stopped(cost)}};
}

std::string difference_text(const TermCost& cost) {
  const auto row = [](const char* name, const std::string& with, const std::string& without) {
    return std::vector<std::string>{name, with, without};
  };
  const auto steps = [](const StepCost& one) { return std::to_string(one.cost.steps); };
  std::string text = fmt::format("\nwithout {} (a training step)\n", cost.term);
  text += table_text({{"", "with", "without"},
                      row("steps", steps(cost.with), steps(cost.without)),
                      row("FLOPs", signed_count(cost.with.cost.flops), signed_count(cost.without.cost.flops)),
                      row("bytes", bytes_text(cost.with.cost.bytes), bytes_text(cost.without.cost.bytes)),
                      row("arena", bytes_text(cost.with.arena_bytes), bytes_text(cost.without.arena_bytes))},
                     "lrr");
  const auto names = stopped(cost);
  if (cost.without.trained.empty()) text += "nothing would be left to train\n";
  return text + (names.empty() ? "no parameter stops training\n"
                               : fmt::format("parameters that stop training: {}\n", fmt::join(names, ", ")));
}

}  // namespace

std::vector<TermCost> term_costs(const Model& model, const ExplainOptions& options, const Explanation& explanation) {
  std::vector<TermCost> costs;
  if (!model.spec.train || !model.spec.loss) return costs;
  const StepCost all = step_cost(model, options, "");
  for (const TermExplanation& term : explanation.terms) {
    const auto& terms = model.spec.loss->terms;  // parts (regularizers, learned weights) go with what they belong to
    if (std::none_of(terms.begin(), terms.end(), [&](const TermSpec& of) { return of.name == term.name; })) continue;
    const bool asked = term.name == options.without;
    if (!asked && term.role == TermRole::excluded) continue;
    if (!asked && !options.term.empty() && term.name != options.term) continue;
    costs.push_back({term.name, all, step_cost(model, options, term.name)});
  }
  return costs;
}

void add_costs(Json& json, const std::vector<TermCost>& costs, const std::string& without) {
  json["costs"] = Json::object();
  for (const TermCost& cost : costs) {
    json["costs"][cost.term] = {{"flops", cost.with.cost.flops - cost.without.cost.flops},
                                {"bytes", saved_bytes(cost)}};
    if (cost.term == without) json["without"] = difference_json(cost);
  }
}

std::string costs_text(const std::vector<TermCost>& costs, const Explanation& shown, const std::string& without) {
  std::string text;
  std::vector<std::vector<std::string>> rows{{"saved without", "FLOPs", "bytes moved", "of all FLOPs"}};
  for (const TermCost& cost : costs) {
    const bool listed = std::any_of(shown.terms.begin(), shown.terms.end(),
                                    [&](const TermExplanation& term) { return term.name == cost.term; });
    const double flops = cost.with.cost.flops - cost.without.cost.flops;
    if (listed)
      rows.push_back({cost.term, signed_count(flops), signed_count(saved_bytes(cost)),
                      fmt::format("{:.1f} %", 100 * flops / std::max(cost.with.cost.flops, 1.0))});
    if (cost.term == without) text += difference_text(cost);
  }
  return (rows.size() > 1 ? "\n" + table_text(rows, "lrrr") : "") + text;
}

}  // namespace weir::cli
