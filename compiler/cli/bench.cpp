// weir bench: where the time of a training step goes, kernel by kernel, beside what the machine could do at best. Data
// is made up, and the learning rate is 0: the same work at every step, and no training that could diverge.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "compiler/cli/bench_drawing.hpp"
#include "compiler/cli/bench_report.hpp"
#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/known_machine.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "runtime/random.hpp"
#include "runtime/session.hpp"
#include "runtime/trainer.hpp"

namespace weir::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// What one reading of the clock costs: every timed step carries one.
double clock_cost() {
  double least = 1;
  for (int i = 0; i < 1000; ++i) {
    const Clock::time_point start = Clock::now();
    least = std::min(least, seconds_since(start));
  }
  return least;
}

/// Classes below the input's bound, masks of ones, numbers in [0, 1).
Tensor made_up_input(const InputBinding& input, std::int64_t batch) {
  Dims dims = input.dims;
  dims.insert(dims.begin(), batch);
  Tensor tensor(input.dtype, dims);
  const std::uint64_t key = random_key(1, "bench " + input.name);
  std::int64_t classes = input.classes;
  for (const InputReader& reader : input.readers)
    if (reader.classes > 0) classes = classes > 0 ? std::min(classes, reader.classes) : reader.classes;
  const auto bound = static_cast<std::uint32_t>(classes > 0 ? classes : 2);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    if (input.dtype == DType::i32)
      tensor.data<std::int32_t>()[i] =
          input.mask ? 1 : static_cast<std::int32_t>(uniform_integer(key, 0, static_cast<std::uint32_t>(i), bound));
    else
      tensor.data<float>()[i] = input.mask ? 1.0f : uniform(key, 0, static_cast<std::uint64_t>(i));
  }
  return tensor;
}

constexpr int warm_up = 3;

/// Timed as a whole and step by step in turn, so that both meet the same machine.
void take_times(Session& session, const Feed& feed, std::int64_t updates, Measured& result) {
  std::vector<std::vector<double>> each(result.steps.size());
  std::vector<double> whole;
  const double clock = clock_cost();
  for (std::int64_t i = 0; i < updates; ++i) {
    const Clock::time_point start = Clock::now();
    session.train_step(feed);
    whole.push_back(std::max(0.0, seconds_since(start) - clock));
    session.set_timing(true);
    session.train_step(feed);
    session.set_timing(false);
    const std::span<const double> seconds = session.step_seconds();
    for (std::size_t step = 0; step < each.size(); ++step) each[step].push_back(std::max(0.0, seconds[step] - clock));
  }
  for (std::size_t step = 0; step < each.size(); ++step) {
    result.steps[step].least = *std::min_element(each[step].begin(), each[step].end());
    result.steps[step].seconds = median(std::move(each[step]));
  }
  result.whole = median(whole);
  result.least = *std::min_element(whole.begin(), whole.end());
}

Measured measure(const std::shared_ptr<const Plan>& plan, const Program& program, const Machine& machine,
                 std::int64_t updates) {
  std::map<std::string, Tensor> inputs;
  for (const InputBinding& input : program.inputs) inputs.emplace(input.name, made_up_input(input, program.batch));
  const Feed feed(inputs.begin(), inputs.end());
  Session session(plan);
  session.set_learning_rate(0);
  for (int i = 0; i < warm_up; ++i) session.train_step(feed);
  Measured result{.steps = steps_of(*plan, program, machine)};
  take_times(session, feed, updates, result);
  return result;
}

// ---- The report

std::string rate_text(double amount, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f}", amount / seconds / 1e9) : "-";
}

Json json_of(const Plan& plan, const Program& program, const Machine& machine, const Measured& measured) {
  Json json{{"model", plan.model},
            {"batch_size", program.batch},
            {"threads", machine.threads},
            {"library", plan.fingerprint.library},
            {"instructions", plan.fingerprint.instructions}};
  json["machine"] = {{"flops_per_second", machine.flops_per_second}, {"memory", Json::array()}};
  for (const MemoryLevel& level : machine.levels)
    json["machine"]["memory"].push_back({{"bytes", level.bytes}, {"bytes_per_second", level.bytes_per_second}});
  json["seconds"] = measured.whole;
  json["least_seconds"] = measured.least;
  json["limit_seconds"] = measured.limit();
  json["of_limit"] = ratio(measured.limit(), measured.whole);
  json["overhead_seconds"] = measured.overhead();
  json["kinds"] = Json::object();
  for (std::string_view kind : step_kinds) {
    const double seconds = measured.of(kind, &StepTime::seconds), limit = measured.of(kind, &StepTime::limit);
    json["kinds"][std::string(kind)] = {
        {"seconds", seconds}, {"limit_seconds", limit}, {"of_limit", ratio(limit, seconds)}};
  }
  json["steps"] = Json::array();
  for (const StepTime& step : measured.steps)
    json["steps"].push_back({{"node", step.node},
                             {"layer", step.layer},
                             {"kernel", step.kernel},
                             {"when", step.when},
                             {"phase", step.phase},
                             {"kind", step.kind},
                             {"threads", step.threads},
                             {"seconds", step.seconds},
                             {"least_seconds", step.least},
                             {"flops", step.cost.flops},
                             {"bytes", step.cost.bytes},
                             {"limit_seconds", step.limit},
                             {"of_limit", ratio(step.limit, step.seconds)}});
  return json;
}

std::string machine_text(const Machine& machine) {
  std::string text = fmt::format("at most {:.0f} GFLOP/s, ", machine.flops_per_second / 1e9);
  for (const MemoryLevel& level : machine.levels)
    text += fmt::format("{}{:.0f} GB/s in {}", &level == machine.levels.data() ? "" : ", ",
                        level.bytes_per_second / 1e9, bytes_text(static_cast<std::uint64_t>(level.bytes)));
  return text;
}

std::string steps_text(const Measured& measured) {
  std::vector<std::vector<std::string>> rows{
      {"step", "kernel", "threads", "time", "fastest", "share", "GFLOP/s", "GB/s", "of limit"}};
  for (const StepTime& step : measured.steps)
    rows.push_back({short_node(step.node), step.kernel, std::to_string(step.threads), time_text(step.seconds),
                    percent_text(ratio(step.seconds, measured.whole)), rate_text(step.cost.flops, step.seconds),
                    rate_text(static_cast<double>(step.cost.bytes), step.seconds),
                    percent_text(ratio(step.limit, step.seconds))});
  return table_text(rows, "llrrrrrrr");
}

std::string kinds_text(const Measured& measured) {
  std::vector<std::vector<std::string>> rows{{"", "time", "share", "of limit"}};
  for (std::string_view kind : step_kinds) {
    const double seconds = measured.of(kind, &StepTime::seconds);
    if (seconds > 0)
      rows.push_back({std::string(kind), time_text(seconds), percent_text(ratio(seconds, measured.whole)),
                      percent_text(ratio(measured.of(kind, &StepTime::limit), seconds))});
  }
  rows.push_back(
      {"between", time_text(measured.overhead()), percent_text(ratio(measured.overhead(), measured.whole)), ""});
  rows.push_back({"update", time_text(measured.whole), "", percent_text(ratio(measured.limit(), measured.whole))});
  return table_text(rows, "lrrr");
}

}  // namespace

int run_bench(const BenchOptions& options, const Console& console) {
  const Model model = load_model(options.model, console);
  CompileOptions programs;
  programs.evaluate = programs.predict = false;
  programs.batch_sizes = options.model.batch_sizes;
  const std::shared_ptr<const Plan> plan = plan_of(model, options.model, programs, console);
  const Program* program = largest_program(*plan, ProgramKind::train);
  if (!program) throw Error(ErrorCode::invalid_argument, fmt::format("{} has no train program", model.file));
  const Machine machine =
      known_machine(plan->fingerprint.threads, plan->fingerprint.instructions, options.recalibrate, console);
  const Measured measured = measure(plan, *program, machine, options.steps);
  const std::string heading =
      fmt::format("{}: an update with {} samples, {} thread{}, {} on {}", plan->model, program->batch, machine.threads,
                  machine.threads == 1 ? "" : "s", plan->fingerprint.library, plan->fingerprint.instructions);
  if (options.as == "svg") {
    const std::string svg = bench_svg(measured, heading, machine_text(machine));
    console.out << (console.json ? Json{{"as", options.as}, {"text", svg}}.dump(2) + '\n' : svg);
  } else if (console.json) {
    console.out << json_of(*plan, *program, machine, measured).dump(2) << '\n';
  } else {
    console.out << heading << '\n'
                << machine_text(machine) << "\n\n"
                << steps_text(measured) << '\n'
                << kinds_text(measured) << fmt::format("fastest update {}\n", time_text(measured.least));
  }
  return done;
}

}  // namespace weir::cli
