#include "runtime/plan.hpp"

#include <algorithm>

#include "runtime/error.hpp"

namespace weir {

std::uint64_t byte_count(const Buffer& buffer) {
  return static_cast<std::uint64_t>(physical_count(buffer.shape)) * size_of(buffer.dtype);
}

std::string to_string(BufferRef ref) {
  static const char letters[] = {'p', 'b', 's'};
  return letters[static_cast<int>(ref.space)] + std::to_string(ref.index);
}

std::string_view to_string(ProgramKind kind) {
  switch (kind) {
    case ProgramKind::train:
      return "train";
    case ProgramKind::evaluate:
      return "evaluate";
    case ProgramKind::predict:
      return "predict";
  }
  return "?";
}

std::string_view to_string(BufferClass kind) {
  static const std::string_view words[] = {"parameter", "statistic", "state", "gradient", "activation",
                                           "copy",      "scratch",   "input", "output"};
  return words[static_cast<int>(kind)];
}

std::uint64_t Plan::arena_bytes() const {
  std::uint64_t most = 0;
  for (const Program& program : programs) most = std::max(most, program.arena_bytes);
  return most;
}

const Program* Plan::find(ProgramKind kind, std::int64_t batch) const {
  for (const Program& program : programs)
    if (program.kind == kind && program.batch == batch) return &program;
  return nullptr;
}

int Plan::scalar(std::string_view name) const {
  for (std::size_t i = 0; i < scalars.size(); ++i)
    if (scalars[i].name == name) return static_cast<int>(i);
  return -1;
}

namespace {

std::string print_step(const Plan& plan, const Step& step, bool recipes) {
  const Recipe& recipe = plan.recipes.at(static_cast<std::size_t>(step.recipe));
  std::string reads, writes;
  for (std::size_t i = 0; i < step.operands.size(); ++i) {
    std::string& side = recipe.operands[i].access == Access::read ? reads : writes;
    side += (side.empty() ? "" : ", ") + to_string(step.operands[i]);
  }
  std::string text = (recipes ? to_string(recipe) : recipe.kernel) + " " + reads + " -> " + writes + "  # " + step.node;
  return text + (step.watched ? " (watched)" : "");
}

/// First and last compute step that touches the buffer, counted from 1.
std::pair<int, int> life(const Program& program, int buffer) {
  int first = 0, last = 0;
  for (std::size_t i = 0; i < program.compute.size(); ++i)
    for (BufferRef ref : program.compute[i].operands)
      if (ref == BufferRef{BufferRef::Space::arena, buffer}) {
        last = static_cast<int>(i) + 1;
        if (!first) first = last;
      }
  return {first, last};
}

std::string print_buffer(const Buffer& buffer, const std::string& name, const Program* program, int index) {
  std::string text = "  " + name + " [" + std::to_string(buffer.offset) + " .. " +
                     std::to_string(buffer.offset + byte_count(buffer)) + ") " + std::string(to_string(buffer.kind)) +
                     " " + std::string(to_string(buffer.dtype)) + to_string(buffer.shape.dims) + " " +
                     buffer.shape.layout + "  # " + buffer.name;
  if (!program) return text + "\n";
  const auto [first, last] = life(*program, index);
  if (first) text += ", steps " + std::to_string(first) + "-" + std::to_string(last);
  return text + "\n";
}

std::string print_program(const Plan& plan, const Program& program, bool memory) {
  std::string text =
      "program " + std::string(to_string(program.kind)) + " batch " + std::to_string(program.batch) + "\n";
  if (memory) {
    text += "arena " + std::to_string(program.arena_bytes) + " bytes, lower bound " +
            std::to_string(program.lower_bound) + "\n";
    for (std::size_t i = 0; i < program.buffers.size(); ++i)
      text += print_buffer(program.buffers[i], "b" + std::to_string(i), &program, static_cast<int>(i));
  }
  for (const InputBinding& input : program.inputs)
    text += "input " + input.name + " b" + std::to_string(input.buffer) +
            (input.classes ? " classes " + std::to_string(input.classes) : "") + "\n";
  text += print_steps(plan, program, true);
  for (const Check& check : program.checks)
    text += "check " + check.name + " " + to_string(check.buffer) +
            (check.bound > 0 ? " below " + shortest(check.bound) : "") + "\n";
  for (const TermReport& term : program.terms)
    text += "term " + term.name + " s" + std::to_string(term.value) +
            (term.weight < 0 ? " watched" : " weight s" + std::to_string(term.weight)) +
            (term.given < 0 ? "" : " from s" + std::to_string(term.given)) + "\n";
  for (const MetricReport& metric : program.metrics)
    text += "metric " + metric.name + " s" + std::to_string(metric.value) + "\n";
  for (const OutputBinding& gradient : program.gradients)
    text += "gradient " + gradient.name + " b" + std::to_string(gradient.buffer) + "\n";
  for (const OutputBinding& output : program.outputs)
    text += "output " + output.name + " b" + std::to_string(output.buffer) + "\n";
  return text;
}

}  // namespace

std::string print_steps(const Plan& plan, const Program& program, bool watched) {
  std::string text;
  const std::pair<const char*, const std::vector<Step>*> lists[] = {
      {"refresh", &program.refresh}, {"compute", &program.compute}, {"commit", &program.commit}};
  for (const auto& [title, steps] : lists) {
    int number = 0;
    for (const Step& step : *steps) {
      ++number;
      if (step.watched && !watched) continue;
      text += std::string("  ") + title;
      if (watched)
        text += " " + std::to_string(number) + ": " + print_step(plan, step, true) + "\n";
      else
        text += ": " + to_string(plan.recipes.at(static_cast<std::size_t>(step.recipe))) + "  # " + step.node + "\n";
    }
  }
  return text;
}

std::string print_plan(const Plan& plan, bool memory) {
  std::string text = "plan " + plan.model + " for " + plan.fingerprint.library + ", " + plan.fingerprint.instructions +
                     ", " + std::to_string(plan.fingerprint.threads) +
                     (plan.fingerprint.threads == 1 ? " thread\n" : " threads\n");
  text += "store " + std::to_string(plan.store_bytes) + " bytes\n";
  if (memory)
    for (std::size_t i = 0; i < plan.store.size(); ++i)
      text += print_buffer(plan.store[i], "p" + std::to_string(i), nullptr, 0);
  for (std::size_t i = 0; i < plan.scalars.size(); ++i)
    text +=
        "scalar s" + std::to_string(i) + " " + plan.scalars[i].name + " = " + shortest(plan.scalars[i].initial) + "\n";
  for (const ScheduledScalar& one : plan.schedules)
    text += "schedule s" + std::to_string(one.scalar) + " " + to_string(one.schedule) + "\n";
  if (plan.normalized_weights) text += "weights divided by their sum\n";
  for (const Program& program : plan.programs) text += print_program(plan, program, memory);
  return text;
}

}  // namespace weir
