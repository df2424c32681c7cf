// weir's half of the comparison in compare.py: one training step, or prediction, after another on recorded batches.
// stdin takes `step N`, `memory` and `quit`; each answer is one line of JSON (peer.py describes the protocol).
// With --plan it only starts, for start_times.py: what compiling a specification, or opening a plan, takes.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "compiler/compile.hpp"
#include "runtime/data/array.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/session.hpp"

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string spec, run, plan;
  int threads = 1;
  bool steps = false;        ///< after opening a plan
  std::int64_t predict = 0;  ///< batch size of predictions; 0: training steps
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The high-water mark of this program alone: getrusage would count the program that started it.
std::int64_t peak_rss() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return 1024 * std::stoll(line.substr(6));
  throw weir::Error(weir::ErrorCode::io_error, "/proc/self/status has no VmHWM line");
}

std::ifstream open(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw weir::Error(weir::ErrorCode::io_error, path + " cannot be read");
  return stream;
}

std::string read_text(const std::string& path) {
  std::ostringstream text;
  text << open(path).rdbuf();
  return text.str();
}

weir::SourceArray load_array(const std::string& path) {
  std::ifstream stream = open(path);
  return weir::read_array(stream, path);
}

/// Rows first … first + batch of an array, without a copy.
weir::TensorView rows(const weir::SourceArray& array, weir::DType dtype, std::int64_t first, std::int64_t batch) {
  weir::Dims dims = array.dims;
  dims[0] = batch;
  const std::int64_t row = weir::element_count(dims) / batch * static_cast<std::int64_t>(weir::size_of(array.type));
  return {array.bytes.data() + first * row, dtype, dims};
}

/// A file INPUT.npy for each input that the training program reads; a last short batch is left out.
struct Batches {
  std::map<std::string, weir::SourceArray> arrays;
  std::vector<weir::Feed> feeds;

  Batches(const std::string& folder, const weir::Program& program, std::int64_t batch) {
    std::int64_t samples = std::numeric_limits<std::int64_t>::max();
    for (const weir::InputBinding& input : program.inputs) {
      const auto added = arrays.emplace(input.name, load_array(folder + "/" + input.name + ".npy"));
      samples = std::min(samples, added.first->second.dims.at(0));
    }
    for (std::int64_t first = 0; first + batch <= samples; first += batch) {
      feeds.emplace_back();
      for (const weir::InputBinding& input : program.inputs)
        feeds.back().emplace(input.name, rows(arrays.at(input.name), input.dtype, first, batch));
    }
    if (feeds.empty()) throw weir::Error(weir::ErrorCode::invalid_data, folder + " holds no whole batch");
  }
};

/// Of the parameters that the program touches: a peer's model has no others.
std::int64_t parameter_count(const weir::Plan& plan, const weir::Program& program) {
  std::set<int> touched;
  for (const auto* steps : {&program.refresh, &program.compute, &program.commit})
    for (const weir::Step& step : *steps)
      for (const weir::BufferRef& operand : step.operands)
        if (operand.space == weir::BufferRef::Space::store) touched.insert(operand.index);
  std::int64_t count = 0;
  for (const weir::Parameter& parameter : plan.parameters)
    if (touched.count(parameter.buffer)) count += weir::element_count(parameter.dims);
  return count;
}

std::shared_ptr<const weir::Plan> compile(const Options& options) {
  weir::CompileOptions settings;
  settings.threads = options.threads;
  settings.evaluate = false;
  settings.predict = options.predict > 0;
  settings.train = !settings.predict;
  if (settings.predict) settings.batch_sizes = {options.predict};
  weir::Compiled compiled = weir::compile(read_text(options.spec), settings);
  if (compiled.plan == nullptr) throw weir::Error(weir::ErrorCode::invalid_data, compiled.diagnostics.to_text());
  return compiled.plan;
}

void answer(const Json& value) { std::cout << value.dump() << std::endl; }

/// What one command of the protocol is about: a training step or a prediction, and the number that shows its result.
class Work {
 public:
  Work(weir::Session& session, const Batches& batches, const weir::Program& program)
      : session_(session), batches_(batches), program_(program) {}

  double once() {
    const weir::Feed& feed = batches_.feeds[taken_++ % batches_.feeds.size()];
    if (program_.kind == weir::ProgramKind::train) return session_.train_step(feed).total;
    return static_cast<double>(output(feed).data<float>()[0]);
  }

  std::vector<float> first_output() {
    const weir::Tensor value = output(batches_.feeds.front());
    return {value.data<float>(), value.data<float>() + value.count()};
  }

 private:
  weir::Tensor output(const weir::Feed& feed) {
    std::map<std::string, weir::Tensor> outputs = session_.predict(feed);
    return std::move(outputs.at(program_.outputs.at(0).name));
  }

  weir::Session& session_;
  const Batches& batches_;
  const weir::Program& program_;
  std::size_t taken_ = 0;
};

Json take_steps(Work& work, std::int64_t count) {
  std::vector<double> seconds, losses;
  seconds.reserve(static_cast<std::size_t>(count));
  losses.reserve(static_cast<std::size_t>(count));
  const double cpu = cpu_seconds();
  for (std::int64_t i = 0; i < count; ++i) {
    const Clock::time_point start = Clock::now();
    losses.push_back(work.once());
    seconds.push_back(seconds_since(start));
  }
  return {{"seconds", seconds}, {"loss", losses}, {"cpu_seconds", cpu_seconds() - cpu}};
}

void serve(Work& work) {
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    if (line == "memory") {
      answer({{"peak_rss", peak_rss()}});
    } else if (line == "output") {
      answer({{"output", work.first_output()}});
    } else if (line.rfind("step ", 0) == 0) {
      answer(take_steps(work, std::stoll(line.substr(5))));
    } else {
      throw weir::Error(weir::ErrorCode::invalid_argument, "unknown command: " + line);
    }
  }
}

void run(const Options& options) {
  const Clock::time_point start = Clock::now();
  const std::shared_ptr<const weir::Plan> plan = compile(options);
  const double compiled = seconds_since(start);
  weir::Session session(plan);
  const double started = seconds_since(start);
  std::ifstream weights = open(options.run + "/init.safetensors");
  session.load_weights(weir::read_safetensors(weights, options.run + "/init.safetensors"));
  const weir::Program& program = plan->programs.at(0);  // there is no other
  const Batches batches(options.run, program, options.predict > 0 ? options.predict : program.batch);
  const Json versions = {{"weir runs", plan->fingerprint.library + ", " + plan->fingerprint.instructions}};
  answer({{"ready",
           {{"versions", versions},
            {"compile_seconds", compiled},
            {"start_seconds", started},
            {"parameters", parameter_count(*plan, program)},
            {"arena_bytes", plan->arena_bytes()},
            {"store_bytes", plan->store_bytes}}}});
  Work work(session, batches, program);
  serve(work);
}

/// One training step whose inputs are 0: the first makes the program's primitives and touches all memory, the second
/// is a step like any other.
double step_on_zeros(weir::Session& session, const weir::Plan& plan) {
  const weir::Program& program = *plan.find(weir::ProgramKind::train, plan.training.batch_size);
  std::map<std::string, weir::Tensor> zeros;
  weir::Feed feed;
  for (const weir::InputBinding& input : program.inputs) {
    weir::Dims dims = input.dims;
    dims.insert(dims.begin(), program.batch);
    feed.emplace(input.name, zeros.emplace(input.name, weir::Tensor(input.dtype, dims)).first->second);
  }
  return session.train_step(feed).total;
}

/// Compiles and writes the plan, or reads it, makes a session and, where asked to, takes two steps; the seconds of each
/// part.
void start(const Options& options) {
  std::vector<std::pair<std::string, double>> seconds;
  const auto timed = [&](const char* part, const auto& body) {
    const Clock::time_point begin = Clock::now();
    auto result = body();
    seconds.emplace_back(part, seconds_since(begin));
    return result;
  };
  if (!options.spec.empty()) {
    const auto plan = timed("compile", [&] { return compile(options); });
    const std::string text = timed("write", [&] { return weir::plan_to_json(*plan); });
    std::ofstream(options.plan, std::ios::binary) << text;
  } else {
    const auto plan = timed(
        "read", [&] { return std::make_shared<const weir::Plan>(weir::plan_from_json(read_text(options.plan))); });
    const auto session = timed("session", [&] { return std::make_unique<weir::Session>(plan); });
    if (options.steps)
      for (const char* part : {"first step", "second step"})
        timed(part, [&] { return step_on_zeros(*session, *plan); });
  }
  answer(Json(std::map<std::string, double>(seconds.begin(), seconds.end())));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Takes training steps, or predicts, on command; see bench/README.md.");
  Options options;
  app.add_option("--spec", options.spec, "the specification");
  app.add_option("--run", options.run, "folder with INPUT.npy for each input and init.safetensors");
  app.add_option("--plan", options.plan, "write the specification's plan, or open this one, and end");
  app.add_flag("--steps", options.steps, "take two steps with the opened plan");
  app.add_option("--threads", options.threads, "of the plan")->required();
  app.add_option("--predict", options.predict, "predict batches of this size instead of training");
  CLI11_PARSE(app, argc, argv);
  try {
    options.plan.empty() ? run(options) : start(options);
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
