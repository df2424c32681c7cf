// weir compile: a specification becomes a plan file, which the runtime loads without the compiler.
#include "compiler/compile.hpp"

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "runtime/formats/durable_file.hpp"

namespace weir::cli {
namespace {

Json plan_json(const std::string& file, const Plan& plan) {
  Json json{
      {"plan", file}, {"model", plan.model}, {"store_bytes", plan.store_bytes}, {"arena_bytes", plan.arena_bytes()}};
  json["programs"] = Json::array();
  for (const Program& program : plan.programs)
    json["programs"].push_back({{"kind", to_string(program.kind)},
                                {"batch", program.batch},
                                {"steps", program.compute.size()},
                                {"arena_bytes", program.arena_bytes},
                                {"lower_bound", program.lower_bound}});
  return json;
}

}  // namespace

int run_compile(const CompileCommandOptions& options, const Console& console) {
  const Model model = load_model(options.model, console);
  if (model.plan)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is a plan already; compile takes a specification", model.file));
  CompileOptions compile_options;
  compile_options.taps = options.taps;
  const auto plan = plan_of(model, options.model, compile_options, console);
  write_durably(options.output, plan_to_json(*plan));
  if (console.json)
    console.out << plan_json(options.output, *plan).dump(2) << '\n';
  else
    console.out << fmt::format("wrote {} ({})\n", options.output, plan_summary(model, *plan));
  return done;
}

}  // namespace weir::cli
