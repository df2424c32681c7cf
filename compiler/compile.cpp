// THE pipeline: the only place that knows the order of passes.
#include "compiler/compile.hpp"

#include <algorithm>

#include "compiler/explain_route.hpp"
#include "compiler/pass_runner.hpp"
#include "compiler/passes/lints.hpp"
#include "compiler/passes/recompute.hpp"
#include "compiler/passes/routing.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

/// What a program was made of: kept where it may be looked at again, for its memory.
struct Source {
  TrainingGraph training;
  LoweredGraph lowered;
};

/// What a compile call carries from program to program.
struct Compilation {
  const Spec& spec;
  const CompileOptions& options;
  const Target& target;
  Diagnostics& diagnostics;
  Plan plan;
  HomeShapes homes;
  std::set<std::string> frozen;  ///< parameters with "trainable": false
  double least_gain = 0;         ///< of other layouts of images
  int changed_layouts = 0;       ///< nodes, over all programs
  std::vector<Source> sources;   ///< of the plan's programs
};

void emit(Compilation& c, ProgramKind kind, TrainingGraph training, LoweredGraph lowered) {
  emit_program(c.plan, kind, training, lowered);
  c.sources.push_back({std::move(training), std::move(lowered)});
}

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

/// An estimate must promise so much to be believed: gains of 3 percent were promised by the host's for training steps
/// (resnet20 with AVX-512, unet with AVX2), and steps became 1 percent slower.
constexpr double least_estimated_gain = 0.08;

/// Over the whole program, because lower sees one node after the other.
LayoutAssignment assigned_layouts(Compilation& c, const PassRunner& run, const TrainingGraph& training,
                                  std::int64_t batch) {
  const auto assign = [&](const LayoutAssignment& usual) {
    const LayoutAssignment found = assign_layouts(training, c.target, batch);
    return found.seconds < (1 - c.least_gain) * found.usual_seconds ? found : usual;
  };
  LayoutAssignment layouts = run.optional("assign_layouts", assign, LayoutAssignment{});
  c.changed_layouts += layouts.changed;
  return layouts;
}

void add_train_program(Compilation& c, std::int64_t batch) {
  PassRunner run(c.options, "train " + std::to_string(batch));
  Graph graph = run("build_graph", build_graph, c.spec, Mode::training, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  // Trained terms alone: nothing decided from here to fuse_post_ops can depend on who watches.
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
  // Masks that mask_selected moved are where they stay, and activations behind sums stand alone yet.
  training = run.optional("fuse_normalization", fuse_normalization, std::move(training));
  training = run.optional("fuse_post_ops", fuse_post_ops, std::move(training));
  // Readers come last on the level of mathematics; they change nothing that stands.
  if (c.options.only_term.empty())
    training = run("attach_watchers", attach_watchers, c.spec, std::move(training), c.options.taps, c.diagnostics);
  if (c.diagnostics.has_errors()) return;
  const LayoutAssignment layouts = assigned_layouts(c, run, training, batch);
  LoweredGraph lowered = run("lower", lower, training, c.target, batch, c.homes, layouts);
  // Recipes are known now; which of them may be one step, their kernels say.
  lowered = run.optional("group_updates", group_updates, std::move(lowered));
  emit(c, ProgramKind::train, std::move(training), std::move(lowered));
}

/// What the values of one step may take for the next step to find them near. Measured for mobilenet_v2 on a machine
/// whose cores share 32 MB of cache: 8 rows at once, whose largest step has 8 MB, take 1.2 ms a row, 16 take 1.55 ms.
constexpr std::int64_t near_bytes = 10 << 20;

/// Rows are predicted each for itself, so a large batch may run in slices.
std::int64_t rows_at_once(const Graph& graph, std::int64_t batch) {
  std::int64_t most = 1;
  for (const Node& node : graph.nodes) {
    if (!node.live) continue;
    std::int64_t entries = 0;
    for (const auto* values : {&node.operands, &node.results})
      for (ValueId id : *values)
        if (id != none && graph.at(id).axes.starts_with('n'))  // others are the same for all rows
          entries += element_count(graph.at(id).type.dims);
    most = std::max(most, entries);
  }
  const std::int64_t fitting = std::max<std::int64_t>(1, near_bytes / static_cast<std::int64_t>(sizeof(float)) / most);
  std::int64_t best = batch, unused = batch;  // a last slice that is not full takes as long as the others
  for (std::int64_t rows = std::min(fitting, batch); rows > std::min(fitting, batch) / 2; --rows)
    if (const std::int64_t rest = (rows - batch % rows) % rows; rest < unused) best = rows, unused = rest;
  return best;
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
  if (kind == ProgramKind::predict) batch = rows_at_once(training.graph, batch);
  const LayoutAssignment layouts = assigned_layouts(c, run, training, batch);
  LoweredGraph lowered = run("lower", lower, training, c.target, batch, c.homes, layouts);
  lowered = run.optional("group_updates", group_updates, std::move(lowered));
  emit(c, kind, std::move(training), std::move(lowered));
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

/// Without a budget, arenas from here on get smaller where that costs next to nothing: smaller ones mostly fit the
/// caches, and a process takes some 40 MB anyway.
constexpr std::uint64_t large_arena = 64 << 20;

bool is_larger(const Program& program, std::uint64_t arena_bytes) {
  return program.kind == ProgramKind::train && program.arena_bytes > arena_bytes;
}

/// Once more, with some of its steps twice. What is kept between steps must be known.
void replace_program(Compilation& c, std::size_t program, const LoweredGraph& lowered) {
  emit_program(c.plan, c.plan.programs[program].kind, c.sources[program].training, lowered);
  c.plan.programs[program] = std::move(c.plan.programs.back());
  c.plan.programs.pop_back();
}

void refuse_memory(Compilation& c, const Program& program) {
  const auto sum = [&](std::uint64_t arena) { return std::to_string(c.plan.store_bytes + arena); };
  const std::string name = std::string(to_string(program.kind)) + " " + std::to_string(program.batch);
  const bool trains = program.kind == ProgramKind::train;
  Diagnostic& diagnostic =
      c.diagnostics.error("E0501", {},
                          "the memory budget of " + std::to_string(c.options.memory_budget) +
                              " bytes is too small: at least " + sum(program.arena_bytes) + " are needed");
  diagnostic.notes = {std::to_string(c.plan.store_bytes) + " bytes for parameters, statistics and optimizer state",
                      std::to_string(program.arena_bytes) + " bytes for the program " + name +
                          (trains ? ", with everything computed again that helps" : "")};
  diagnostic.help = "take a smaller batch size, or a budget of " + sum(program.arena_bytes);
}

/// Programs that take too much run some of their steps twice.
void save_memory(Compilation& c) {
  const std::uint64_t budget = c.options.memory_budget, store = c.plan.store_bytes;
  const std::uint64_t arena_bytes = budget > 0 ? budget - std::min(store, budget) : large_arena;
  for (std::size_t i = 0; i < c.plan.programs.size(); ++i) {
    if (!is_larger(c.plan.programs[i], arena_bytes)) continue;
    PassRunner run(c.options, "train " + std::to_string(c.plan.programs[i].batch));
    LoweredGraph lowered = std::move(c.sources[i].lowered);
    replace_program(c, i,
                    budget > 0 ? run("recompute", recompute, std::move(lowered), arena_bytes)
                               : run.optional("recompute", recompute_cheap, std::move(lowered)));
  }
  if (budget == 0) return;
  const auto largest = std::max_element(c.plan.programs.begin(), c.plan.programs.end(),
                                        [](const auto& a, const auto& b) { return a.arena_bytes < b.arena_bytes; });
  if (largest != c.plan.programs.end() && store + largest->arena_bytes > budget) refuse_memory(c, *largest);
}

std::vector<MemoryCurve> memory_curves(const Compilation& c) {
  std::vector<MemoryCurve> curves;
  for (std::size_t i = 0; c.options.memory_curve && i < c.plan.programs.size(); ++i)
    if (const Program& program = c.plan.programs[i]; program.kind == ProgramKind::train)
      curves.push_back({program.kind, program.batch, memory_curve(c.sources[i].lowered)});
  return curves;
}

}  // namespace

Compiled compile(std::string_view text, const CompileOptions& options, const Target* target) {
  Compiled compiled{nullptr, Diagnostics(options.name, std::string(text))};
  const Spec spec = parse_spec(text, options.name, compiled.diagnostics, {options.set, options.exclude, options.train});
  if (compiled.diagnostics.has_errors()) return compiled;
  const int threads = options.threads > 0 ? options.threads : usable_cpus();
  std::unique_ptr<Target> host;
  std::unique_ptr<TunedTarget> tuned;
  if (!target && options.tuning.table) tuned = tuned_target(threads, options.tuning);
  if (!target && !tuned) host = host_target(threads);
  Compilation c{spec, options, target ? *target : tuned ? *tuned : *host, compiled.diagnostics, {}, {}, {}, 0, 0, {}};
  c.least_gain = tuned ? 0 : least_estimated_gain;
  c.plan.model = spec.name;
  c.plan.fingerprint = c.target.fingerprint();
  for (const InputSpec& input : spec.inputs) c.plan.inputs.push_back(input.name);
  c.plan.spec = spec.canonical;
  c.plan.spec_hash = spec_hash(spec.canonical);
  compile_programs(c);
  if (c.diagnostics.has_errors()) return compiled;
  if (tuned) c.plan.tuning = tuned->report();
  if (tuned) c.plan.tuning->changed += c.changed_layouts;
  finish_store(c.plan, c.homes);
  compiled.memory_curves = memory_curves(c);
  save_memory(c);
  if (c.diagnostics.has_errors()) return compiled;
  validate_plan(c.plan);
  compiled.plan = std::make_shared<const Plan>(std::move(c.plan));
  return compiled;
}

}  // namespace weir
