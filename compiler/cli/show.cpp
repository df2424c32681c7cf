// weir show: what the compiler made of a specification: a summary, the memory, the graph, the plan, or one stage on the
// way.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/diagram.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/show_memory.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/kernel.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir::cli {
namespace {

struct Report {
  Model model;
  std::shared_ptr<const Plan> plan;
  Graph graph;
  Explanation explanation;
};

Report make_report(const ShowOptions& options, const Console& console) {
  Report report{load_model(options.model, console), nullptr, {}, {}};
  report.plan = plan_of(report.model, options.model, {}, console);
  Diagnostics ignored;  // the compiler has reported everything
  report.graph = build_graph(report.model.spec, Mode::training, ignored);
  report.explanation = explain(report.model.spec, ignored);
  return report;
}

std::int64_t parameter_count(const Plan& plan, const std::string& layer) {
  std::int64_t count = 0;
  for (const Parameter& parameter : plan.parameters)
    if (parameter.name.starts_with(layer + ".")) count += element_count(parameter.dims);
  return count;
}

/// Terms that train any parameter of the layer; "-" for a layer without parameters.
std::string trained_by(const Explanation& explanation, const std::string& layer) {
  std::vector<std::string> terms;
  bool owns = false;
  for (const ParameterExplanation& parameter : explanation.parameters) {
    if (parameter.layer != layer) continue;
    owns = true;
    for (const TermExplanation& term : explanation.terms) {
      const bool trains = parameter.influences.at(term.name) == Influence::trained;
      if (trains && std::find(terms.begin(), terms.end(), term.name) == terms.end()) terms.push_back(term.name);
    }
  }
  if (!owns) return "-";
  return terms.empty() ? "nothing" : fmt::format("{}", fmt::join(terms, ", "));
}

Dims dims_of(const Graph& graph, const std::string& node) {
  const ValueId value = graph.find(node);
  return value == none ? Dims{} : graph.at(value).type.dims;
}

/// Steps that run on an implementation that oneDNN has for reference only: a thousand times slower than the others.
std::vector<std::string> reference_steps(const Plan& plan) {
  std::vector<std::string> steps;
  const auto target = host_target(plan.fingerprint.threads);
  if (!(target->fingerprint() == plan.fingerprint)) return steps;
  for (const Program& program : plan.programs)
    for (const Step& step : program.compute) {
      const Recipe& recipe = plan.recipes.at(static_cast<std::size_t>(step.recipe));
      const std::string implementation = target->implementation(recipe);
      if (implementation.starts_with("ref"))
        steps.push_back(
            fmt::format("{} {}: {} ({})", to_string(program.kind), program.batch, step.node, implementation));
    }
  return steps;
}

/// A step of several tensors is named after all of them.
void add_cost(const std::string& nodes, const Recipe& recipe, std::map<std::string, Cost>& costs) {
  std::size_t tensor = 0;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 2, ++tensor) {
    end = nodes.find(", ", begin);
    const bool is_alone = begin == 0 && end == std::string::npos;
    costs[nodes.substr(begin, nodes.find_first_of(" .:,", begin) - begin)] +=
        cost_of(is_alone ? recipe : recipe_of_tensor(recipe, tensor));
  }
}

/// Of one run of the first program, which is a training step where the model trains: forward, backward and update of
/// each layer. Steps are named after what they do: "conv_1", "conv_1 gradient_input", "conv_1.kernel as Ohwi32o".
std::map<std::string, Cost> layer_costs(const Plan& plan) {
  std::map<std::string, Cost> costs;
  if (plan.programs.empty()) return costs;
  const Program& program = plan.programs.front();
  for (const auto* steps : {&program.refresh, &program.compute, &program.commit})
    for (const Step& step : *steps) add_cost(step.node, plan.recipes.at(static_cast<std::size_t>(step.recipe)), costs);
  return costs;
}

std::string layer_table(const Report& report) {
  std::vector<std::vector<std::string>> rows{
      {"layer", "type", "output", "parameters", "FLOPs", "bytes moved", "trained by"}};
  auto costs = layer_costs(*report.plan);
  for (const LayerSpec& layer : report.model.spec.layers)
    rows.push_back({layer.name, std::string(layer.op->name), to_string(dims_of(report.graph, layer.name)),
                    with_separators(parameter_count(*report.plan, layer.name)), number_text(costs[layer.name].flops),
                    bytes_text(costs[layer.name].bytes), trained_by(report.explanation, layer.name)});
  return table_text(rows, "lllrrrl");
}

std::string term_table(const Report& report) {
  if (report.explanation.terms.empty()) return "";
  std::vector<std::vector<std::string>> rows{{"loss", "type", "at", "weight", ""}};
  for (const TermExplanation& term : report.explanation.terms) {
    const std::string role = term.role == TermRole::excluded  ? fmt::format("excluded by \"{}\"", term.excluded_by)
                             : term.role == TermRole::watched ? "watched"
                                                              : "";
    const std::string weight = term.schedule.empty() ? shortest(term.weight) : term.schedule;
    rows.push_back({term.name, term.type, term.at, weight, role});
  }
  return '\n' + table_text(rows, "lllrl");
}

std::string memory_table(const Plan& plan) {
  std::vector<std::vector<std::string>> rows{
      {"program", "batch", "steps", "FLOPs", "bytes moved", "arena", "at least"}};
  for (const Program& program : plan.programs) {
    const Cost cost = cost_of(plan, program);
    rows.push_back({std::string(to_string(program.kind)), std::to_string(program.batch),
                    std::to_string(program.compute.size()), number_text(cost.flops), bytes_text(cost.bytes),
                    bytes_text(program.arena_bytes), bytes_text(program.lower_bound)});
  }
  return '\n' + table_text(rows, "lrrrrrr") +
         fmt::format("store (parameters, statistics, optimizer state) {}; arena {}; together {}\n",
                     bytes_text(plan.store_bytes), bytes_text(plan.arena_bytes()), bytes_text(memory_bytes(plan)));
}

std::string as_table(const Report& report) {
  std::string text = layer_table(report) + term_table(report) + memory_table(*report.plan);
  if (const auto& tuning = report.plan->tuning)
    text +=
        fmt::format("tuned: {} recipes timed, {} choices differ from the usual ones\n", tuning->timed, tuning->changed);
  const auto slow = reference_steps(*report.plan);
  if (!slow.empty())
    text += fmt::format("on oneDNN's reference implementation (slow):\n  {}\n", fmt::join(slow, "\n  "));
  return text;
}

Json as_json(const Report& report) {
  const Plan& plan = *report.plan;
  Json json{{"model", plan.model}, {"spec_hash", plan.spec_hash}, {"threads", plan.fingerprint.threads}};
  for (const char* list : {"layers", "loss", "programs"}) json[list] = Json::array();
  auto costs = layer_costs(plan);
  for (const LayerSpec& layer : report.model.spec.layers)
    json["layers"].push_back({{"name", layer.name},
                              {"type", layer.op->name},
                              {"output", dims_of(report.graph, layer.name)},
                              {"parameters", parameter_count(plan, layer.name)},
                              {"flops", costs[layer.name].flops},
                              {"bytes", costs[layer.name].bytes},
                              {"trained_by", trained_by(report.explanation, layer.name)}});
  for (const TermExplanation& term : report.explanation.terms)
    json["loss"].push_back({{"name", term.name},
                            {"type", term.type},
                            {"at", term.at},
                            {"weight", term.weight},
                            {"excluded_by", term.excluded_by}});
  for (const Program& program : plan.programs)
    json["programs"].push_back({{"kind", to_string(program.kind)},
                                {"batch", program.batch},
                                {"steps", program.compute.size()},
                                {"flops", cost_of(plan, program).flops},
                                {"bytes", cost_of(plan, program).bytes},
                                {"arena_bytes", program.arena_bytes},
                                {"lower_bound", program.lower_bound}});
  json["store_bytes"] = plan.store_bytes;
  json["arena_bytes"] = plan.arena_bytes();
  json["memory_bytes"] = memory_bytes(plan);
  if (plan.tuning) json["tuning"] = {{"timed", plan.tuning->timed}, {"changed", plan.tuning->changed}};
  json["reference_implementations"] = reference_steps(plan);
  return json;
}

/// Every stage's text comes by, so that a wrong name can be answered with the right ones.
int dump_after(const ShowOptions& options, const Console& console) {
  const Model model = load_model(options.model, console);
  if (model.plan)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--dump-after on a plan: \"{}\" is compiled already; give the specification", model.file));
  std::vector<std::string> passes;
  std::string text;
  CompileOptions compile_options;
  compile_options.dump_after = {"all"};
  compile_options.dump = [&](std::string_view pass, std::string_view program, const std::string& stage) {
    if (std::find(passes.begin(), passes.end(), pass) == passes.end()) passes.emplace_back(pass);
    if (options.dump_after == "all" || options.dump_after == pass)
      text += fmt::format("# after {}, {}\n{}\n", pass, program, stage);
  };
  plan_of(model, options.model, compile_options, console);
  if (text.empty()) {
    const std::string near = nearest(options.dump_after, passes);
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--dump-after {}: there is no such pass{}; they are {}, and \"all\"", options.dump_after,
                            near.empty() ? "" : ", did you mean \"" + near + "\"?", fmt::join(passes, ", ")));
  }
  if (console.json)
    console.out << Json{{"pass", options.dump_after}, {"text", text}}.dump(2) << '\n';
  else
    console.out << text;
  return done;
}

/// Of the program that decides how large the arena is.
int show_memory(const ShowOptions& options, const Console& console) {
  if (options.as == "dot" || options.as == "text")
    throw Error(ErrorCode::invalid_argument, fmt::format("--memory --as {}: expected table, json or svg", options.as));
  const Model model = load_model(options.model, console);
  CompileOptions compile_options;
  compile_options.memory_curve = options.as != "svg";
  const Compiled compiled = compiled_of(model, options.model, compile_options, console);
  const Plan& plan = *compiled.plan;
  if (plan.programs.empty())
    throw Error(ErrorCode::invalid_argument, fmt::format("--memory: {} has no program to run", model.file));
  const Program& program =
      *std::max_element(plan.programs.begin(), plan.programs.end(),
                        [](const Program& a, const Program& b) { return a.arena_bytes < b.arena_bytes; });
  if (options.as == "json" || (console.json && options.as == "table"))
    console.out << memory_json(plan, program, compiled.memory_curves).dump(2) << '\n';
  else if (console.json)
    console.out << Json{{"as", options.as}, {"text", memory_svg(plan, program)}}.dump(2) << '\n';
  else
    console.out << (options.as == "svg" ? memory_svg(plan, program)
                                        : memory_text(plan, program, compiled.memory_curves));
  return done;
}

std::string text_of(const Report& report, const std::string& as) {
  if (as == "text") return print_plan(*report.plan);
  if (as == "dot") return to_dot(make_diagram(report.model.spec, report.graph, report.explanation));
  if (as == "svg") return to_svg(make_diagram(report.model.spec, report.graph, report.explanation));
  if (as == "json") return as_json(report).dump(2) + '\n';
  return as_table(report);
}

}  // namespace

int run_show(const ShowOptions& options, const Console& console) {
  if (!options.dump_after.empty()) return dump_after(options, console);
  if (options.memory) return show_memory(options, console);
  const Report report = make_report(options, console);
  if (console.json && options.as != "table" && options.as != "json")
    console.out << Json{{"as", options.as}, {"text", text_of(report, options.as)}}.dump(2) << '\n';
  else
    console.out << text_of(report, console.json ? "json" : options.as);
  return done;
}

}  // namespace weir::cli
