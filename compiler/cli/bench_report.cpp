#include "compiler/cli/bench_report.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::cli {
namespace {

std::string_view kind_of(const Recipe& recipe) {
  if (is_product(recipe)) return "products";
  return is_reorder(recipe) ? "reorders" : "memory";
}

std::size_t names_in(const std::string& node) {
  std::size_t count = 1;
  for (std::size_t at = node.find(", "); at != std::string::npos; at = node.find(", ", at + 2)) ++count;
  return count;
}

/// commit: the node of an update is a parameter, or a list of them. Another list is one of copies.
std::string layer_of(const std::string& node, bool commit) {
  if (const std::size_t count = names_in(node); count > 1)
    return fmt::format("{} {}", count, commit ? "parameters" : "copies");
  return node.substr(0, commit ? node.rfind('.') : node.find_first_of(" :"));
}

/// "" for a step that only copies: it belongs to what reads the copy.
std::string_view phase_of(const Program& program, const Step& step, const Recipe& recipe) {
  std::string_view phase;
  for (std::size_t i = 0; i < step.operands.size(); ++i) {
    const BufferRef& operand = step.operands[i];
    if (recipe.operands[i].access == Access::read) continue;
    const bool in_arena = operand.space == BufferRef::Space::arena;
    const BufferClass kind =
        in_arena ? program.buffers[static_cast<std::size_t>(operand.index)].kind : BufferClass::output;  // a scalar
    if (kind == BufferClass::gradient) return "backward";
    if (kind == BufferClass::activation || kind == BufferClass::output) phase = "forward";
  }
  return phase;
}

}  // namespace

double Measured::of(std::string_view kind, double StepTime::*number) const {
  double sum = 0;
  for (const StepTime& step : steps)
    if (kind.empty() || step.kind == kind) sum += step.*number;
  return sum;
}

std::vector<StepTime> steps_of(const Plan& plan, const Program& program, const Machine& machine) {
  std::vector<StepTime> all;
  const auto add = [&](const Step& step, std::string_view when, std::string_view phase) {
    const Recipe& recipe = plan.recipes[static_cast<std::size_t>(step.recipe)];
    const Cost cost = cost_of(recipe);
    all.push_back({.node = step.node,
                   .layer = layer_of(step.node, when == "commit"),
                   .kernel = recipe.kernel,
                   .when = when,
                   .phase = phase.empty() ? phase_of(program, step, recipe) : phase,
                   .kind = kind_of(recipe),
                   .threads = recipe.threads,
                   .cost = cost,
                   .limit = machine.seconds_for(cost.flops, static_cast<double>(cost.bytes))});
  };
  for (const Step& step : program.refresh) add(step, "refresh", "copies");
  for (const Step& step : program.compute) add(step, "compute", "");
  std::string_view next = "backward";
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    if (step->phase.empty()) step->phase = next;
    next = step->phase;
  }
  for (const Step& step : program.commit) add(step, "commit", "update");
  return all;
}

std::string time_text(double seconds) {
  return seconds < 1e-3 ? fmt::format("{:.2f} us", seconds * 1e6) : fmt::format("{:.3f} ms", seconds * 1e3);
}

std::string percent_text(double share) { return fmt::format("{:.1f} %", 100 * share); }

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

std::string short_node(const std::string& node) {
  const std::size_t count = names_in(node);
  return count > 2 ? fmt::format("{} and {} more", node.substr(0, node.find(", ")), count - 1) : node;
}

}  // namespace weir::cli
