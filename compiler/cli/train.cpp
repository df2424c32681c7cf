// weir train: from files to a folder that holds the run. Everything that can be wrong is found before the folder is
// made.
#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/gradient_norms.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/progress.hpp"
#include "compiler/cli/report.hpp"
#include "compiler/cli/run_folder.hpp"
#include "compiler/cli/samples.hpp"
#include "compiler/cli/stop_signal.hpp"
#include "compiler/cli/weight_files.hpp"

namespace weir::cli {
namespace {

/// Flags that are keys of `train`, so that the run's specification says what was really done.
NamedTexts settings_of(const TrainOptions& options) {
  NamedTexts settings;
  if (options.epochs) settings.emplace_back("train.epochs", std::to_string(*options.epochs));
  if (options.seed) settings.emplace_back("train.seed", std::to_string(*options.seed));
  if (options.no_shuffle) settings.emplace_back("train.shuffle", "false");
  if (options.batch_size) settings.emplace_back("train.batch_size", std::to_string(*options.batch_size));
  return settings;
}

void require_training(const Model& model) {
  const char* absent = !model.spec.loss ? "loss" : !model.spec.train ? "train" : nullptr;
  if (absent)
    throw Error(ErrorCode::invalid_spec,
                fmt::format("{} has no \"{}\" section, so there is nothing to train with", model.file, absent));
}

/// A plan decides its batch sizes itself; without --batch-size its largest is taken where it lacks the specification's.
std::int64_t batch_size_of(const Model& model, bool asked_for) {
  const std::int64_t size = model.spec.train->batch_size;
  if (!model.plan || model.plan->find(ProgramKind::train, size)) return size;
  const Program* largest = largest_program(*model.plan, ProgramKind::train);
  if (!largest) throw Error(ErrorCode::invalid_argument, fmt::format("{} has no train program", model.file));
  if (!asked_for) return largest->batch;
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format("--batch-size {} on a plan: \"{}\" has no train program for it; compile the specification with it",
                  size, model.file));
}

TrainingSettings training_settings(const Model& model, bool batch_size_given) {
  const TrainSpec& train = *model.spec.train;
  return {batch_size_of(model, batch_size_given), train.epochs, train.seed, train.shuffle, train.drop_remainder};
}

std::vector<InputBinding> inputs_of(const Plan& plan, ProgramKind kind) {
  const Program* program = largest_program(plan, kind);
  return program ? program->inputs : std::vector<InputBinding>{};
}

/// One training run: what its callbacks share.
class TrainCommand {
 public:
  TrainCommand(const TrainOptions& options, const Console& console)
      : options_(options),
        console_(console),
        model_(load_model(options.model, console, settings_of(options))),
        steps_(static_cast<std::uint64_t>(options.steps.value_or(0))),
        folder_(options.out.empty() ? model_.spec.name + ".run" : options.out, options.force) {
    require_training(model_);
    if (options.gradient_norms && model_.plan)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("--gradient-norms on a plan: \"{}\" is compiled for all terms together; give the "
                              "specification",
                              model_.file));
    if (options.gradient_norms && options.model.memory_budget > 0)
      throw Error(ErrorCode::invalid_argument,
                  "--gradient-norms with --memory-budget: the gradient of each term takes memory of its own, which the "
                  "budget does not count; leave one of them out");
    settings_ = training_settings(model_, options.batch_size.has_value());
  }

  int run() {
    compile_and_open();
    Session session(plan_, {.seed = settings_.seed});
    load_weights(session, options_.weights, console_);
    if (options_.gradient_norms) norms_.emplace(term_plans(), settings_.seed);
    folder_.begin(model_.spec.canonical);
    const StopSignal stop;
    const TrainingOutcome outcome = train_and_save(session, stop.received());
    report(outcome);
    return outcome.end == TrainingEnd::stopped ? stopped_by(stop.received()) : done;
  }

 private:
  std::shared_ptr<const Plan> compile_sizes(std::vector<std::int64_t> sizes, bool warn) {
    CompileOptions options;
    options.predict = false;
    options.batch_sizes = std::move(sizes);
    return plan_of(model_, options_.model, options, console_, warn);
  }

  /// The data decides whether there is a last, shorter batch; which data is read, the plan decides. So a plan for full
  /// batches comes first, and one with both sizes only where it is needed.
  void compile_and_open() {
    plan_ = compile_sizes({settings_.batch_size}, true);
    console_.err << plan_summary(model_, *plan_) << '\n' << std::flush;
    sets_ = open_training_sets(model_, options_.data, inputs_of(*plan_, ProgramKind::train),
                               inputs_of(*plan_, ProgramKind::evaluate), console_);
    const auto sizes = stepped_batch_sizes(sets_.train.samples(), settings_, steps_);
    if (!sizes.empty() && sizes != std::vector{settings_.batch_size}) plan_ = compile_sizes(sizes, false);
  }

  /// A plan for each kept term, for the batch sizes of the training plan.
  std::vector<GradientNorms::TermPlan> term_plans() {
    std::vector<GradientNorms::TermPlan> plans;
    CompileOptions options;
    options.predict = options.evaluate = false;
    for (const Program& program : plan_->programs)
      if (program.kind == ProgramKind::train) options.batch_sizes.push_back(program.batch);
    for (const TermReport& term : largest_program(*plan_, ProgramKind::train)->terms) {
      if (term.weight < 0) continue;
      options.only_term = term.name;
      plans.push_back({term.name, plan_of(model_, options_.model, options, console_, false)});
    }
    return plans;
  }

  bool is_logged(std::uint64_t step) const {
    return step == 1 || step % static_cast<std::uint64_t>(options_.log_every) == 0;
  }

  Json step_line(const StepEvent& event) {
    Json json = step_json(event);
    if (norms_) norms_->add_to(json, event.result.terms);
    return json;
  }

  TrainerOptions trainer_options(const Session& session, Progress& progress, const std::atomic<int>& stop) {
    TrainerOptions options{settings_, steps_, &stop, {}, {}};
    options.on_step = [this, &progress](const StepEvent& event) {
      progress.step(event);
      if (is_logged(event.step)) line(step_line(event));
    };
    options.on_epoch = [this, &progress, &session](const EpochEvent& event) {
      progress.epoch(event);
      if (norms_) console_.err << norms_->epoch_text() << std::flush;
      line(epoch_json(event));
      epoch_ = event.epoch;
      folder_.save(session);
    };
    if (norms_)
      options.before_step = [this, &session](std::uint64_t step, const Feed& feed) {
        if (is_logged(step)) norms_->measure(session, feed);
      };
    return options;
  }

  void line(const Json& json) {
    const std::string text = json.dump();
    folder_.append(text);
    if (console_.json) console_.out << text << '\n' << std::flush;
  }

  TrainingOutcome train_and_save(Session& session, const std::atomic<int>& stop) {
    Progress progress(console_, settings_.epochs, steps_);
    const Dataset* validation = sets_.validation ? &*sets_.validation : nullptr;
    try {
      TrainingOutcome outcome = weir::train(session, sets_.train, validation, trainer_options(session, progress, stop));
      folder_.save(session);
      return outcome;
    } catch (const Error& error) {
      progress.clear();
      if (error.code() != ErrorCode::non_finite) throw;
      folder_.save(session);
      throw Error(ErrorCode::non_finite,
                  fmt::format("training diverged: {}. The parameters before that step are kept in {}", error.what(),
                              (folder_.path() / "last.safetensors").string()));
    }
  }

  void report(const TrainingOutcome& outcome) {
    if (outcome.end == TrainingEnd::stopped)
      console_.err << fmt::format("stopped by a signal after step {}; everything up to it is kept\n", outcome.steps);
    if (console_.json) return;
    if (outcome.train)
      console_.out << fmt::format("training, epoch {}\n", epoch_) << ledger_text(*outcome.train, model_.spec);
    if (outcome.validation) console_.out << "\nvalidation\n" << ledger_text(*outcome.validation, model_.spec);
    console_.out << fmt::format("\n{} updates; kept in {}: last.safetensors, metrics.jsonl, model.weir.json\n",
                                outcome.steps, folder_.path().string());
  }

  const TrainOptions& options_;
  const Console& console_;
  Model model_;
  std::uint64_t steps_;
  RunFolder folder_;
  TrainingSettings settings_;
  std::shared_ptr<const Plan> plan_;
  TrainingSets sets_;
  std::optional<GradientNorms> norms_;
  std::int64_t epoch_ = 0;
};

}  // namespace

int run_train(const TrainOptions& options, const Console& console) { return TrainCommand(options, console).run(); }

}  // namespace weir::cli
