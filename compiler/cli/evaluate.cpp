// weir evaluate: losses and metrics over a set, in evaluation mode.
#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/report.hpp"
#include "compiler/cli/samples.hpp"
#include "compiler/cli/weight_files.hpp"

namespace weir::cli {
namespace {

const Program& evaluation_program(const Model& model, const Plan& plan) {
  const Program* program = largest_program(plan, ProgramKind::evaluate);
  if (!program)
    throw Error(ErrorCode::invalid_spec,
                fmt::format("{} has neither a loss nor a metric, so there is nothing to evaluate", model.file));
  return *program;
}

Json evaluation_json(const std::string& set, const EpochValues& values) {
  Json json{{"set", set}, {"samples", values.samples}};
  json.update(values_json(values));
  return json;
}

}  // namespace

int run_evaluate(const EvaluateOptions& options, const Console& console) {
  const Model model = load_model(options.model, console, {}, false);
  CompileOptions compile_options;
  compile_options.train = compile_options.predict = false;
  const auto plan = plan_of(model, options.model, compile_options, console);
  const Program& program = evaluation_program(model, *plan);
  const Dataset dataset = open_set(model, options.data, options.data.set, program.inputs, console);
  Session session(plan, {.seed = plan->training.seed});
  load_weights(session, options.weights, console);
  tell_untrained(options.weights, console);
  const EpochValues values = weir::evaluate(session, dataset);
  if (console.json)
    console.out << evaluation_json(options.data.set, values).dump(2) << '\n';
  else
    console.out << fmt::format("{} samples of {}\n", with_separators(values.samples), options.data.set)
                << ledger_text(values, model.spec);
  return done;
}

}  // namespace weir::cli
