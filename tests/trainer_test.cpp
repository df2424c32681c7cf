#include "runtime/trainer.hpp"

#include <cmath>

#include <doctest/doctest.h>

#include "tests/message_of.hpp"
#include "tests/models.hpp"

using namespace weir;

namespace {

const char* const spec = R"({
  "format": "weir/1", "name": "small",
  "inputs": {"x": {"shape": [3]}, "y": {"shape": [2]}},
  "layers": [
    {"name": "hidden", "type": "dense", "units": 5, "activation": "tanh", "from": "x"},
    {"name": "answer", "type": "dense", "units": 2}
  ],
  "loss": {"terms": {
    "fit": {"type": "mean_squared_error", "at": "answer", "target": {"input": "y"}},
    "small": {"type": "mean_absolute_error", "at": "hidden", "target": {"constant": 0}, "weight": 0.25},
    "seen": {"type": "mean_squared_error", "at": "hidden", "target": {"constant": 1}, "weight": 0}
  }},
  "train": {"optimizer": {"type": "sgd", "learning_rate": 0.05}, "batch_size": 4, "epochs": 2,
            "metrics": {"level": {"type": "mean", "at": "answer"}}}
})";

Dataset random_set(std::int64_t samples, std::uint64_t seed = 5) {
  Dataset set;
  set.bind(DatasetInput{"x", {3}, DType::f32}, RandomSamples{samples, 0}, seed);
  set.bind(DatasetInput{"y", {2}, DType::f32}, RandomSamples{samples, 0}, seed);
  return set;
}

std::shared_ptr<const Plan> plan_for(std::vector<std::int64_t> sizes) {
  CompileOptions options;
  options.batch_sizes = std::move(sizes);
  return compiled(spec, options);
}

TrainerOptions options_of(std::int64_t epochs, bool shuffle = true) {
  TrainerOptions options;
  options.settings = {4, epochs, 0, shuffle, false};
  return options;
}

std::vector<float> values_of(const Session& session) {
  std::vector<float> values;
  for (const Parameter& parameter : session.plan().parameters) {
    const Tensor tensor = session.parameter(parameter.name);
    values.insert(values.end(), tensor.data<float>(), tensor.data<float>() + tensor.count());
  }
  return values;
}

std::vector<float> trained(const TrainerOptions& options, std::uint64_t session_seed = 0) {
  Session session(plan_for({4, 2}), {.seed = session_seed});
  train(session, random_set(10), nullptr, options);
  return values_of(session);
}

}  // namespace

TEST_CASE("the sizes that will be stepped follow from samples, batch size and limits") {
  using Sizes = std::vector<std::int64_t>;
  const TrainingSettings settings{4, 1, 0, true, false};
  CHECK(stepped_batch_sizes(12, settings, 0) == Sizes{4});
  CHECK(stepped_batch_sizes(10, settings, 0) == Sizes{4, 2});
  CHECK(stepped_batch_sizes(3, settings, 0) == Sizes{3});
  CHECK(stepped_batch_sizes(10, settings, 2) == Sizes{4});
  CHECK(stepped_batch_sizes(10, settings, 3) == Sizes{4, 2});
  CHECK(stepped_batch_sizes(10, {4, 1, 0, true, true}, 0) == Sizes{4});
}

TEST_CASE("an epoch's values are means over samples, and its total is the sum of its contributions") {
  const TermValue first[] = {{"a", 2.0, 0.5, 1.0}, {"b", 3.0, 1.0, 3.0}},
                  second[] = {{"a", 8.0, 0.5, 4.0}, {"b", 0.0, 1.0, 0.0}};
  const std::pair<std::string_view, double> before[] = {{"m", 1.0}}, after[] = {{"m", 0.0}};
  EpochSum sum;
  sum.add({4.0, first, before, {}}, 4);
  sum.add({4.0, second, after, {}}, 2);
  const EpochValues mean = sum.mean();
  CHECK(mean.samples == 6);
  CHECK(mean.terms[0].value == doctest::Approx((4 * 2.0 + 2 * 8.0) / 6));
  CHECK(mean.terms[0].weight == doctest::Approx(0.5));
  CHECK(mean.terms[1].contribution == doctest::Approx(4 * 3.0 / 6));
  CHECK(mean.total == doctest::Approx(mean.terms[0].contribution + mean.terms[1].contribution));
  CHECK(mean.metrics[0].second == doctest::Approx(4.0 / 6));
}

TEST_CASE("steps are numbered through epochs and the last batch of each is short") {
  Session session(plan_for({4, 2}));
  std::vector<std::int64_t> samples, epochs;
  std::vector<std::uint64_t> steps;
  TrainerOptions options = options_of(2);
  options.on_step = [&](const StepEvent& event) {
    samples.push_back(event.samples);
    epochs.push_back(event.epoch);
    steps.push_back(event.step);
    CHECK(event.batches == 3);
    CHECK(event.learning_rate == doctest::Approx(0.05));
  };
  const TrainingOutcome outcome = train(session, random_set(10), nullptr, options);
  CHECK(samples == std::vector<std::int64_t>{4, 4, 2, 4, 4, 2});
  CHECK(epochs == std::vector<std::int64_t>{1, 1, 1, 2, 2, 2});
  CHECK(steps == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6});
  CHECK(outcome.end == TrainingEnd::epochs);
  CHECK(outcome.steps == 6);
}

TEST_CASE("what an epoch reports is the mean of what its steps reported") {
  Session session(plan_for({4, 2}));
  double fit = 0, total = 0, level = 0;
  TrainerOptions options = options_of(1);
  options.on_step = [&](const StepEvent& event) {
    const auto n = static_cast<double>(event.samples);
    fit += n * event.result.terms[0].value / 10;
    total += n * event.result.total / 10;
    level += n * event.result.metrics[0].second / 10;
  };
  const TrainingOutcome outcome = train(session, random_set(10), nullptr, options);
  REQUIRE(outcome.train);
  CHECK(outcome.train->samples == 10);
  CHECK(outcome.train->terms[0].name == "fit");
  CHECK(outcome.train->terms[0].value == doctest::Approx(fit));
  CHECK(outcome.train->terms[2].name == "seen");
  CHECK(outcome.train->terms[2].value > 0);
  CHECK(outcome.train->terms[2].contribution == 0);
  CHECK(outcome.train->total == doctest::Approx(total));
  CHECK(outcome.train->metrics[0].second == doctest::Approx(level));
}

TEST_CASE("validation runs after each epoch with that epoch's parameters and changes nothing") {
  const Dataset validation = random_set(7, 99);
  std::vector<double> totals;
  std::vector<std::vector<float>> kept;
  Session session(plan_for({4, 2}));
  TrainerOptions options = options_of(2);
  options.on_epoch = [&](const EpochEvent& event) {
    REQUIRE(event.validation);
    CHECK(event.validation->samples == 7);
    totals.push_back(event.validation->total);
    kept.push_back(values_of(session));
  };
  train(session, random_set(10), &validation, options);
  REQUIRE(totals.size() == 2);
  CHECK(totals[0] != totals[1]);
  CHECK(evaluate(session, validation).total == totals[1]);
  CHECK(kept[1] == trained(options_of(2)));
}

TEST_CASE("the first limit ends training, also inside an epoch, which is reported as far as it went") {
  Session session(plan_for({4, 2}));
  TrainerOptions options = options_of(5);
  options.steps = 4;
  std::vector<std::int64_t> reported;
  options.on_epoch = [&](const EpochEvent& event) { reported.push_back(event.train.samples); };
  const TrainingOutcome outcome = train(session, random_set(10), nullptr, options);
  CHECK(outcome.end == TrainingEnd::steps);
  CHECK(outcome.steps == 4);
  CHECK(reported == std::vector<std::int64_t>{10, 4});
}

TEST_CASE("a stop flag ends training after the step that runs") {
  Session session(plan_for({4, 2}));
  std::atomic<int> stop{0};
  TrainerOptions options = options_of(5);
  options.stop = &stop;
  options.on_step = [&](const StepEvent& event) {
    if (event.step == 2) stop = 15;
  };
  options.on_epoch = [&](const EpochEvent&) { FAIL("the epoch was not finished"); };
  const TrainingOutcome outcome = train(session, random_set(10), nullptr, options);
  CHECK(outcome.end == TrainingEnd::stopped);
  CHECK(outcome.steps == 2);
  CHECK(session.steps() == 2);
}

TEST_CASE("the order of samples depends on the seed and the epoch, and equal runs give equal bits") {
  const std::vector<float> first = trained(options_of(2));
  CHECK(first == trained(options_of(2)));
  TrainerOptions other = options_of(2);
  other.settings.seed = 1;
  CHECK(first != trained(other));
  CHECK(first != trained(options_of(2, false)));
  CHECK(trained(options_of(2, false)) == trained(options_of(2, false)));
}

TEST_CASE("drop_remainder leaves the short batch out") {
  Session session(plan_for({4}));
  TrainerOptions options = options_of(1);
  options.settings.drop_remainder = true;
  const TrainingOutcome outcome = train(session, random_set(10), nullptr, options);
  CHECK(outcome.steps == 2);
  CHECK(outcome.train->samples == 8);
}

TEST_CASE("a size without a train program is refused before the first step") {
  Session session(plan_for({4}));
  const std::string message = message_of([&] { train(session, random_set(10), nullptr, options_of(1)); });
  CHECK(message.find("--batch-size 4,2") != std::string::npos);
  CHECK(session.steps() == 0);
}

TEST_CASE("a diverging step throws and leaves the parameters of the step before") {
  Session session(plan_for({4, 2}));
  session.set_weight("fit", 1e12);
  std::vector<float> before;
  TrainerOptions options = options_of(50);
  options.on_step = [&](const StepEvent&) { before = values_of(session); };
  try {
    train(session, random_set(10), nullptr, options);
    FAIL("training with a weight of 1e12 went on");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::non_finite);
  }
  REQUIRE(!before.empty());
  CHECK(values_of(session) == before);
  for (float value : before) CHECK(std::isfinite(value));
}

TEST_CASE("evaluation covers every sample once, whatever the batch size") {
  Session small(plan_for({3})), large(plan_for({64}));
  const Dataset set = random_set(10);
  const EpochValues a = evaluate(small, set), b = evaluate(large, set);
  CHECK(a.samples == 10);
  CHECK(b.samples == 10);
  CHECK(a.total == doctest::Approx(b.total).epsilon(1e-6));
  CHECK(a.metrics[0].second == doctest::Approx(b.metrics[0].second).epsilon(1e-6));
}

TEST_CASE("data that an executed input lacks is named") {
  Session session(plan_for({4, 2}));
  Dataset set;
  set.bind(DatasetInput{"x", {3}, DType::f32}, RandomSamples{8, 0}, 0);
  CHECK(message_of([&] { train(session, set, nullptr, options_of(1)); }).find("input \"y\" has no data") !=
        std::string::npos);
}
