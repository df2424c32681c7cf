// weir's half of the comparison in seed_step.py: one training step after another on recorded batches, on command.
// stdin takes `step N`, `memory` and `quit`; each answer is one line of JSON (peer.py describes the protocol).
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
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
  std::string spec, run;
  int threads = 1;
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

struct Batches {
  weir::SourceArray image, label;
  std::vector<weir::Feed> feeds;

  Batches(const std::string& folder, std::int64_t batch)
      : image(load_array(folder + "/image.npy")), label(load_array(folder + "/label.npy")) {
    for (std::int64_t first = 0; first + batch <= image.dims[0]; first += batch)
      feeds.push_back({{"image", rows(image, weir::DType::f32, first, batch)},
                       {"label", rows(label, weir::DType::i32, first, batch)}});
  }
};

std::shared_ptr<const weir::Plan> compile(const Options& options) {
  weir::CompileOptions settings;
  settings.threads = options.threads;
  settings.evaluate = settings.predict = false;
  weir::Compiled compiled = weir::compile(read_text(options.spec), settings);
  if (compiled.plan == nullptr) throw weir::Error(weir::ErrorCode::invalid_data, compiled.diagnostics.to_text());
  return compiled.plan;
}

void answer(const Json& value) { std::cout << value.dump() << std::endl; }

Json take_steps(weir::Session& session, const Batches& batches, std::int64_t count) {
  std::vector<double> seconds, losses;
  seconds.reserve(static_cast<std::size_t>(count));
  losses.reserve(static_cast<std::size_t>(count));
  const double cpu = cpu_seconds();
  for (std::int64_t i = 0; i < count; ++i) {
    const weir::Feed& feed = batches.feeds[session.steps() % batches.feeds.size()];
    const Clock::time_point start = Clock::now();
    losses.push_back(session.train_step(feed).total);
    seconds.push_back(seconds_since(start));
  }
  return {{"seconds", seconds}, {"loss", losses}, {"cpu_seconds", cpu_seconds() - cpu}};
}

void serve(weir::Session& session, const Batches& batches) {
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    if (line == "memory") {
      answer({{"peak_rss", peak_rss()}});
    } else if (line.rfind("step ", 0) == 0) {
      answer(take_steps(session, batches, std::stoll(line.substr(5))));
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
  const Batches batches(options.run, plan->training.batch_size);
  const Json versions = {{"weir runs", plan->fingerprint.library + ", " + plan->fingerprint.instructions}};
  answer({{"ready",
           {{"versions", versions},
            {"compile_seconds", compiled},
            {"start_seconds", started},
            {"arena_bytes", plan->arena_bytes()},
            {"store_bytes", plan->store_bytes}}}});
  serve(session, batches);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Takes training steps on command; see bench/README.md.");
  Options options;
  app.add_option("--spec", options.spec, "the specification")->required();
  app.add_option("--run", options.run, "folder with image.npy, label.npy and init.safetensors")->required();
  app.add_option("--threads", options.threads, "of the plan")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const std::exception& error) {
    std::cerr << "step_bench: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
