// weir gradient: the gradients of a training step, in file order, with that step's parameters and random numbers: the
// updates before it are done first.
#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/report.hpp"
#include "compiler/cli/samples.hpp"
#include "compiler/cli/weight_files.hpp"
#include "runtime/data/batches.hpp"
#include "runtime/formats/safetensors.hpp"

namespace weir::cli {
namespace {

using Gradients = std::map<std::string, Tensor>;

class GradientCommand {
 public:
  GradientCommand(const GradientOptions& options, const Console& console)
      : options_(options), console_(console), model_(load_model(options.model, console)) {
    if (!model_.spec.loss || !model_.spec.train)
      throw Error(ErrorCode::invalid_spec,
                  fmt::format("{} has no loss and train sections, so there are no gradients", model_.file));
    if (model_.plan && !options.term.empty())
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("--term {} on a plan: give the specification", options.term));
    check_term();
  }

  int run() {
    open();
    const Batches batches(dataset_.samples(), {batch_size_, false, settings().drop_remainder, 0});
    Session session = ready_session(batches);
    const Program& program = *largest_program(session.plan(), ProgramKind::train);
    // A regularizer of a parameter reads no input; the rows of any say how many there are.
    BatchFeed feed(dataset_, program.inputs.empty() ? *largest_program(*plan_, ProgramKind::train) : program);
    const StepResult result = session.gradient_step(feed.gather(rows_of(batches, options_.batch)));
    const Gradients gradients = read(session);
    write(gradients);
    if (console_.json)
      console_.out << json_of(result, gradients).dump(2) << '\n';
    else
      console_.out << fmt::format("step {}: {}\nwrote {}: gradients of {} parameters\n", options_.batch,
                                  sum_text(result.total, result.terms), options_.output, gradients.size());
    return done;
  }

 private:
  const TrainSpec& settings() const { return *model_.spec.train; }

  void check_term() const {
    if (options_.term.empty()) return;
    std::vector<std::string> names;
    for (const TermSpec& term : model_.spec.loss->terms) names.push_back(term.name);
    for (const LayerSpec& layer : model_.spec.layers)
      for (const ParameterRule& rule : layer.regularizers) names.push_back(rule.name);
    if (std::find(names.begin(), names.end(), options_.term) != names.end()) return;
    const std::string near = nearest(options_.term, names);
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--term {}: the loss has no term of that name{}", options_.term,
                            near.empty() ? "" : ", did you mean \"" + near + "\"?"));
  }

  std::shared_ptr<const Plan> compile_sizes(std::vector<std::int64_t> sizes, const std::string& term, bool warn) {
    CompileOptions options;
    options.evaluate = options.predict = false;
    options.batch_sizes = std::move(sizes);
    options.only_term = term;
    return plan_of(model_, options_.model, options, console_, warn);
  }

  /// Like weir train: the plan says which inputs are read, the data whether there is a shorter last batch.
  void open() {
    batch_size_ = settings().batch_size;
    plan_ = compile_sizes({batch_size_}, "", true);
    const Program* program = largest_program(*plan_, ProgramKind::train);
    if (!program) throw Error(ErrorCode::invalid_argument, fmt::format("{} has no train program", model_.file));
    if (model_.plan && !plan_->find(ProgramKind::train, batch_size_)) batch_size_ = program->batch;
    std::vector<InputBinding> needed = program->inputs;
    if (!options_.term.empty())
      add_inputs(needed,
                 largest_program(*compile_sizes({batch_size_}, options_.term, false), ProgramKind::train)->inputs);
    dataset_ = open_set(model_, options_.data, "train", needed, console_);
    sizes_ = stepped_batch_sizes(dataset_.samples(), {batch_size_, 1, 0, false, settings().drop_remainder}, 0);
    if (sizes_ != std::vector{batch_size_} && !sizes_.empty()) plan_ = compile_sizes(sizes_, "", false);
  }

  /// At the parameters of the step asked for; with --term, in a session whose plan has that term alone.
  Session ready_session(const Batches& batches) {
    Session session(plan_, {.seed = settings().seed});
    load_weights(session, options_.weights, console_);
    tell_untrained(options_.weights, console_);
    BatchFeed feed(dataset_, *largest_program(*plan_, ProgramKind::train));
    for (std::int64_t step = 1; step < options_.batch; ++step) {
      session.set_epochs(epochs_before(batches, step));
      session.train_step(feed.gather(rows_of(batches, step)));
    }
    session.set_epochs(epochs_before(batches, options_.batch));
    if (options_.term.empty()) return session;
    Session alone(compile_sizes(sizes_, options_.term, false), {.seed = settings().seed});
    for (const Parameter& parameter : plan_->parameters)
      alone.set_parameter(parameter.name, session.parameter(parameter.name));
    alone.set_steps(session.steps());
    alone.set_epochs(session.epochs());
    return alone;
  }

  /// File order, epoch after epoch.
  static std::span<const std::uint32_t> rows_of(const Batches& batches, std::int64_t step) {
    return batches.batch((step - 1) % batches.count());
  }

  static std::uint64_t epochs_before(const Batches& batches, std::int64_t step) {
    return static_cast<std::uint64_t>((step - 1) / batches.count());
  }

  static Gradients read(const Session& session) {
    Gradients gradients;
    for (const OutputBinding& binding : largest_program(session.plan(), ProgramKind::train)->gradients)
      gradients.emplace(binding.name, session.gradient(binding.name));
    return gradients;
  }

  void write(const Gradients& gradients) const {
    std::map<std::string, TensorView> views;
    for (const auto& [name, tensor] : gradients) views.emplace(name, tensor);
    write_safetensors(options_.output, views);
  }

  Json json_of(const StepResult& result, const Gradients& gradients) const {
    Json json{
        {"file", options_.output}, {"step", options_.batch}, {"loss", Json::object()}, {"gradients", Json::object()}};
    json["loss"]["total"] = json_number(result.total);
    for (const TermValue& term : result.terms) json["loss"][std::string(term.name)] = json_number(term.value);
    for (const auto& [name, tensor] : gradients) json["gradients"][name] = tensor.dims;
    return json;
  }

  const GradientOptions& options_;
  const Console& console_;
  Model model_;
  std::int64_t batch_size_ = 0;
  std::vector<std::int64_t> sizes_;
  std::shared_ptr<const Plan> plan_;
  Dataset dataset_;
};

}  // namespace

int run_gradient(const GradientOptions& options, const Console& console) {
  return GradientCommand(options, console).run();
}

}  // namespace weir::cli
