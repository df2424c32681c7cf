// The code that docs/embedding.md shows, compiled and run. The document quotes these lines.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>

#include "compiler/compile.hpp"
#include "runtime/data/dataset.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/session.hpp"
#include "runtime/trainer.hpp"
#include "tests/command_line.hpp"

using namespace weir;

namespace {

const std::string text = command_line::small_spec;

std::vector<float> some_numbers(std::size_t count, int start = 1) {
  std::vector<float> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = std::sin(static_cast<float>(i) + static_cast<float>(start));
  return numbers;
}

std::vector<std::int32_t> some_classes(std::size_t count) {
  std::vector<std::int32_t> classes(count);
  for (std::size_t i = 0; i < count; ++i) classes[i] = static_cast<std::int32_t>(i % 4);
  return classes;
}

std::string one_step(std::uint64_t seed) {
  Session session(compile(text, {.threads = 1}).plan, {.seed = seed});
  const std::vector<float> x = some_numbers(24);
  const std::vector<std::int32_t> label = some_classes(8);
  for (int step = 0; step < 20; ++step)
    session.train_step({{"x", {x.data(), DType::f32, {8, 3}}}, {"label", {label.data(), DType::i32, {8}}}});
  const Tensor kernel = session.parameter("output.kernel");
  return {reinterpret_cast<const char*>(kernel.bytes.data()), kernel.bytes.size()};
}

}  // namespace

TEST_CASE("a specification is compiled from memory, trained, evaluated, read and saved") {
  const command_line::Workspace work;
  const std::vector<float> x = some_numbers(24);
  const std::vector<std::int32_t> label = some_classes(8);
  const std::filesystem::path path = work.path("weights.safetensors");

  weir::Compiled compiled = weir::compile(text, {.name = "small", .threads = 1, .taps = {"hidden", "output"}});
  if (!compiled.plan) throw std::runtime_error(compiled.diagnostics.to_text());
  weir::Session session(compiled.plan, {.seed = 7});

  weir::Feed batch;
  batch["x"] = {x.data(), weir::DType::f32, {8, 3}};
  batch["label"] = {label.data(), weir::DType::i32, {8}};
  const weir::StepResult step = session.train_step(batch);
  for (const weir::TermValue& term : step.terms)
    std::printf("%s: %g × %g\n", std::string(term.name).c_str(), term.weight, term.value);
  const weir::Tensor hidden = session.output("hidden");          // a tap, [8, 5]
  const weir::Tensor slope = session.gradient("output.kernel");  // of this step, [5, 4]

  session.set_weight("tame", 0.05);  // from the next step on
  session.set_learning_rate(0.001);
  const double total = session.evaluate(batch).total;
  const std::map<std::string, weir::Tensor> values = session.predict({{"x", {x.data(), weir::DType::f32, {2, 3}}}});
  session.save_weights(path);

  CHECK(step.terms.size() == 2);
  CHECK(hidden.dims == Dims{8, 5});
  CHECK(slope.dims == Dims{5, 4});
  CHECK(total > 0);
  CHECK(values.at("output").dims == Dims{2, 4});

  weir::Session other(compiled.plan, {.initialize = false});
  std::ifstream file(path, std::ios::binary);
  other.load_weights(weir::read_safetensors(file, path.string()));

  CHECK(other.parameter("output.kernel").bytes == session.parameter("output.kernel").bytes);
}

TEST_CASE("a plan that was written to a file runs without the compiler") {
  const command_line::Workspace work;
  const std::string json = plan_to_json(*compile(text, {.threads = 1}).plan);

  const auto plan = std::make_shared<const weir::Plan>(weir::plan_from_json(json));
  weir::Session session(plan, {.seed = 7});

  const std::vector<float> x = some_numbers(24);
  CHECK(session.predict({{"x", {x.data(), DType::f32, {3, 3}}}}).at("output").dims == Dims{3, 4});
}

TEST_CASE("the trainer runs epochs over a data set that the host binds") {
  Session session(compile(text, {.threads = 1, .batch_sizes = {8, 4}}).plan, {.seed = 7});

  weir::Dataset set;
  set.bind({"x", {3}, weir::DType::f32}, weir::RandomSamples{20, 0}, 1);
  set.bind({"label", {}, weir::DType::i32}, weir::RandomSamples{20, 4}, 1);
  weir::TrainerOptions options;
  options.settings = session.plan().training;
  options.on_epoch = [](const weir::EpochEvent& event) { std::printf("%g\n", event.train.total); };
  const weir::TrainingOutcome outcome = weir::train(session, set, nullptr, options);

  CHECK(outcome.steps == 6);  // two epochs of 8, 8 and 4 samples
}

TEST_CASE("a failed call throws weir::Error with a code and leaves the session as it was") {
  Session session(compile(text, {.threads = 1}).plan, {.seed = 7});
  const auto before = session.parameter("output.kernel").bytes;
  std::vector<float> x = some_numbers(24);
  x[5] = 3e38f;  // finite, but no gradient by it can be
  const std::vector<std::int32_t> label = some_classes(8);
  const Feed batch = {{"x", {x.data(), DType::f32, {8, 3}}}, {"label", {label.data(), DType::i32, {8}}}};
  bool caught = false;

  try {
    session.train_step(batch);
  } catch (const weir::Error& error) {
    if (error.code() != weir::ErrorCode::non_finite) throw;
    std::fprintf(stderr, "%s\n", error.what());  // parameters and steps() are those of before

    caught = true;
  }

  CHECK(caught);
  CHECK(session.steps() == 0);
  CHECK(session.parameter("output.kernel").bytes == before);
}

TEST_CASE("compiling and training on several threads at a time gives the bits of one") {
  const std::string alone = one_step(1), other = one_step(2);
  CHECK(alone != other);
  for (int round = 0; round < 3; ++round) {
    std::string first, second;
    std::thread one([&] { first = one_step(1); }), two([&] { second = one_step(2); });
    one.join();
    two.join();
    CHECK(first == alone);
    CHECK(second == other);
  }
}
