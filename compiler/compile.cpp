// THE pipeline: the only place that knows the order of passes.
#include "compiler/compile.hpp"

#include <algorithm>

#include "compiler/explain_route.hpp"
#include "compiler/pass_runner.hpp"
#include "compiler/passes/lints.hpp"
#include "compiler/passes/routing.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

/// What a compile call carries from program to program.
struct Compilation {
  const Spec& spec;
  const CompileOptions& options;
  const Target& target;
  Diagnostics& diagnostics;
  Plan plan;
  HomeShapes homes;
  std::set<std::string> frozen;  ///< parameters with "trainable": false
};

/// Terms are kept, and none of them reaches anything: what is in the way of each stands in the notes.
void refuse_where_nothing_trains(Compilation& c, const TrainingGraph& training) {
  const Routing routing = route(training);
  std::vector<std::string> notes;
  for (std::size_t term = 0; term < training.terms.size(); ++term) {
    const bool learned_weight = training.terms[term].reported != none;  // alone it is nothing to learn
    if (training.terms[term].role != TermRole::trained || learned_weight) continue;
    if (!reached(training, routing, term).empty()) return;
    notes.push_back(training.terms[term].name + ": " + what_is_in_the_way(training, term));
  }
  Diagnostic& diagnostic = c.diagnostics.error(
      "E0403", c.spec.loss->place, "no kept loss term reaches a parameter that learns, so there is nothing to train");
  diagnostic.notes = std::move(notes);
  diagnostic.help = "let a layer learn, take a cut away or keep another term; evaluate and predict need neither";
}

void add_train_program(Compilation& c, std::int64_t batch) {
  PassRunner run(c.options, "train " + std::to_string(batch));
  Graph graph = run("build_graph", build_graph, c.spec, Mode::training, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  // Trained terms alone: nothing decided from here to fuse_normalization can depend on who watches.
  TrainingGraph training =
      run("attach_losses", attach_losses, c.spec, std::move(graph), c.diagnostics, c.options.only_term);
  if (c.diagnostics.has_errors()) return;
  if (c.plan.programs.empty() && c.options.only_term.empty()) refuse_where_nothing_trains(c, training);
  if (c.diagnostics.has_errors()) return;
  if (c.plan.programs.empty()) report_routing(training, c.diagnostics);
  if (c.plan.programs.empty() && c.options.only_term.empty()) lint(c.spec, training, c.diagnostics);
  // Before differentiate, which then needs no rule of its own for what took a layer's place.
  training = run.optional("replace_layers", replace_layers, std::move(training));
  // Backward while every op still means what the user wrote.
  training = run("differentiate", differentiate, std::move(training));
  // Needs to know who has a gradient.
  training = run("add_updates", add_updates, c.spec, std::move(training));
  // Excluded tails and gradients nobody asked for go before fusion looks at readers.
  training = run("prune", prune, std::move(training));
  // Before fusion, which lets go of the values that no gradient reads any more.
  training = run.optional("mask_selected", mask_selected, std::move(training));
  training = run.optional("fuse_post_ops", fuse_post_ops, std::move(training));
  // Masks that mask_selected moved are where they stay.
  training = run.optional("fuse_normalization", fuse_normalization, std::move(training));
  // Readers come last on the level of mathematics; they change nothing that stands.
  if (c.options.only_term.empty())
    training = run("attach_watchers", attach_watchers, c.spec, std::move(training), c.options.taps, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  LoweredGraph lowered = run("lower", lower, training, c.target, batch, c.homes);
  // Recipes are known now; which of them may be one step, their kernels say.
  lowered = run.optional("group_updates", group_updates, std::move(lowered));
  emit_program(c.plan, ProgramKind::train, training, lowered);
}

void add_forward_program(Compilation& c, ProgramKind kind, std::int64_t batch) {
  PassRunner run(c.options, std::string(to_string(kind)) + " " + std::to_string(batch));
  Graph graph = run("build_graph", build_graph, c.spec, Mode::evaluation, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  std::vector<std::string> taps = c.options.taps;
  if (kind == ProgramKind::predict && taps.empty()) taps = graph.outputs;
  const bool losses = kind == ProgramKind::evaluate;
  TrainingGraph training =
      run("attach_evaluation", attach_evaluation, c.spec, std::move(graph), taps, losses, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  training = run.optional("replace_layers", replace_layers, std::move(training));
  training = run("prune", prune, std::move(training));
  training = run.optional("fold_normalization", fold_normalization, std::move(training));
  training = run.optional("fuse_post_ops", fuse_post_ops, std::move(training));
  const LoweredGraph lowered = run("lower", lower, training, c.target, batch, c.homes);
  emit_program(c.plan, kind, training, lowered);
}

void set_training(Compilation& c) {
  const Spec& spec = c.spec;
  c.plan.scalars = {{"learning_rate", 0}, {"step", 1}, {"rows", 0}, {"seed", 0}};
  if (!spec.train) return;
  c.plan.training = {spec.train->batch_size, spec.train->epochs, spec.train->seed, spec.train->shuffle,
                     spec.train->drop_remainder};
  c.plan.scalars[0].initial = spec.train->optimizer_attributes.number("learning_rate");
  c.plan.scalars[3].initial = static_cast<double>(spec.train->seed);
}

std::vector<std::int64_t> batch_sizes(const Compilation& c) {
  std::vector<std::int64_t> sizes = c.options.batch_sizes;
  if (sizes.empty()) sizes = {c.spec.train ? c.spec.train->batch_size : 32};
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  if (sizes.back() < 1) throw Error(ErrorCode::invalid_argument, "a batch size must be at least 1");
  return sizes;
}

/// "W parameters output.kernel, output.bias are trained by no loss"
void report_unreached(Compilation& c) {
  if (c.spec.loss->unreached == "allow" || !c.options.only_term.empty()) return;
  std::string names;
  int count = 0;
  for (const Parameter& parameter : c.plan.parameters)
    if (!parameter.statistic && !parameter.trained && !c.frozen.contains(parameter.name))
      names += (count++ ? ", " : "") + parameter.name;
  if (count == 0) return;
  const std::string message =
      (count == 1 ? "parameter " : "parameters ") + names + (count == 1 ? " is" : " are") + " trained by no loss";
  Diagnostic& diagnostic = c.spec.loss->unreached == "error"
                               ? c.diagnostics.error("E0402", c.spec.loss->place, message)
                               : c.diagnostics.warning("W0402", c.spec.loss->place, message);
  diagnostic.help = "weir explain says why; \"unreached\": \"allow\" in loss accepts it";
}

void declare(Compilation& c) {
  Diagnostics ignored;  // reported again by the first program
  const TrainingGraph all{.graph = build_graph(c.spec, Mode::training, ignored)};
  declare_parameters(c.plan, all);
  for (const Value& value : all.graph.values)
    if (value.kind == ValueKind::parameter && !value.trainable) c.frozen.insert(value.name);
}

void compile_programs(Compilation& c) {
  const std::vector<std::int64_t> sizes = batch_sizes(c);
  const bool trains = c.options.train && c.spec.train && c.spec.loss;
  declare(c);
  set_training(c);
  // Training first: it fixes where parameters live.
  if (trains)
    for (std::int64_t batch : sizes) {
      add_train_program(c, batch);
      if (c.diagnostics.has_errors()) return;
    }
  if (trains) report_unreached(c);
  if (c.options.evaluate && (c.spec.loss || (c.spec.train && !c.spec.train->metrics.empty())))
    add_forward_program(c, ProgramKind::evaluate, sizes.front());
  if (c.options.predict && !c.diagnostics.has_errors()) add_forward_program(c, ProgramKind::predict, sizes.front());
}

}  // namespace

Compiled compile(std::string_view text, const CompileOptions& options, const Target* target) {
  Compiled compiled{nullptr, Diagnostics(options.name, std::string(text))};
  const Spec spec = parse_spec(text, options.name, compiled.diagnostics, {options.set, options.exclude, options.train});
  if (compiled.diagnostics.has_errors()) return compiled;
  std::unique_ptr<Target> host;
  if (!target) host = host_target(options.threads > 0 ? options.threads : usable_cpus());
  Compilation c{spec, options, target ? *target : *host, compiled.diagnostics, {}, {}, {}};
  c.plan.model = spec.name;
  c.plan.fingerprint = c.target.fingerprint();
  for (const InputSpec& input : spec.inputs) c.plan.inputs.push_back(input.name);
  c.plan.spec = spec.canonical;
  c.plan.spec_hash = spec_hash(spec.canonical);
  compile_programs(c);
  if (c.diagnostics.has_errors()) return compiled;
  finish_store(c.plan, c.homes);
  validate_plan(c.plan);
  compiled.plan = std::make_shared<const Plan>(std::move(c.plan));
  return compiled;
}

}  // namespace weir
