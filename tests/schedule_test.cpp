// Weights that change while training goes on: the curves, what a step and an evaluation see of them, what is live at 0.
#include "runtime/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/explain.hpp"
#include "compiler/verify.hpp"
#include "runtime/trainer.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/reference_run.hpp"

namespace weir {
namespace {

using Curve = Schedule::Curve;

Schedule curve(Curve type, double from, double to, double length, double start = 0) {
  return {.curve = type, .from = from, .to = to, .start = start, .length = length};
}

Schedule pieces(std::vector<double> boundaries, std::vector<double> values) {
  return {.curve = Curve::piecewise, .boundaries = std::move(boundaries), .values = std::move(values)};
}

/// Two terms at one node; %WEIGHT% is that of the first.
const std::string model = R"({
  "format": "weir/1", "name": "scheduled",
  "inputs": { "x": { "shape": [4] }, "y": { "shape": [3] } },
  "layers": [
    { "name": "hidden", "type": "dense", "units": 5, "activation": "tanh", "from": "x" },
    { "name": "answer", "type": "dense", "units": 3 }
  ],
  "loss": { "terms": {
    "small": { "type": "mean_squared_error", "at": "hidden", "target": { "constant": 1 }, "weight": %WEIGHT% },
    "fit": { "type": "mean_squared_error", "at": "answer", "target": { "input": "y" }, "weight": 2 } } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.1 }, "batch_size": 4, "epochs": 3 }
})";

std::string weighed(const std::string& weight) { return with(model, "%WEIGHT%", weight); }
const std::string ramp = R"({ "type": "linear", "from": 0, "to": 1, "length": 4 })";

struct Fixture {
  explicit Fixture(const std::string& text) : session(compiled(text), {.seed = 3, .poison = true}) {}
  Feed feed() const { return {{"x", x}, {"y", y}}; }
  std::vector<std::byte> bits() const {
    std::vector<std::byte> all;
    for (const Parameter& parameter : session.plan().parameters) {
      const Tensor value = session.parameter(parameter.name);
      all.insert(all.end(), value.bytes.begin(), value.bytes.end());
    }
    return all;
  }
  double step() { return session.train_step(feed()).terms[0].weight; }

  Session session;
  Tensor x = made_up({4, 4}, 1), y = made_up({4, 3}, 2);
};

void check_sum(const StepResult& result) {
  double sum = 0;
  for (const TermValue& term : result.terms) {
    CHECK(term.contribution == (term.weight == 0 ? 0 : term.weight * term.value));
    sum += term.contribution;
  }
  CHECK(result.total == sum);
}

}  // namespace

TEST_CASE("curves go from one end to the other, reach both exactly and stay there") {
  for (const Curve type : {Curve::linear, Curve::cosine, Curve::exponential}) {
    const Schedule schedule = curve(type, 0.1, 0.7, 10, 5);
    CAPTURE(std::string(to_string(type)));
    CHECK(value_at(schedule, 0) == 0.1);
    CHECK(value_at(schedule, 5) == 0.1);
    CHECK(value_at(schedule, 15) == 0.7);
    CHECK(value_at(schedule, std::uint64_t{1} << 60) == 0.7);
    for (std::uint64_t n = 5; n < 15; ++n) CHECK(value_at(schedule, n) < value_at(schedule, n + 1));
  }
  CHECK(value_at(curve(Curve::linear, 0, 0.1, 1000), 250) == doctest::Approx(0.025).epsilon(1e-12));
  CHECK(value_at(curve(Curve::cosine, 2, 0, 8), 2) == doctest::Approx(1 + std::cos(M_PI / 4)).epsilon(1e-12));
  CHECK(value_at(curve(Curve::exponential, 1, 1e-4, 4), 1) == doctest::Approx(0.1).epsilon(1e-12));
}

TEST_CASE("a schedule of length 1 jumps, and one that starts beyond the training does not move") {
  const Schedule jump = curve(Curve::cosine, 3, 0, 1, 2);
  CHECK(value_at(jump, 2) == 3);
  CHECK(value_at(jump, 3) == 0);
  const Schedule late = curve(Curve::linear, 0.5, 0, 10, 1e9);
  CHECK(value_at(late, 100'000) == 0.5);
}

TEST_CASE("a piece holds up to its boundary, which belongs to it") {
  const Schedule schedule = pieces({100, 200}, {0, 0.1, 1});
  CHECK(value_at(schedule, 0) == 0);
  CHECK(value_at(schedule, 100) == 0);
  CHECK(value_at(schedule, 101) == 0.1);
  CHECK(value_at(schedule, 200) == 0.1);
  CHECK(value_at(schedule, 201) == 1);
  CHECK(value_at(pieces({}, {0.3}), 7) == 0.3);
}

TEST_CASE("what is no schedule has a fault") {
  const double any = std::numeric_limits<double>::lowest(), infinite = std::numeric_limits<double>::infinity();
  CHECK(fault_of(curve(Curve::linear, 0, 1, 1), 0).empty());
  CHECK(fault_of(curve(Curve::linear, -1, 1, 1), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::linear, -1, 1, 1), 0).empty());
  CHECK_FALSE(fault_of(curve(Curve::linear, 0, infinite, 1), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::linear, 0, 1, 0), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::linear, 0, 1, std::nan("")), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::linear, 0, 1, 1, infinite), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::exponential, 0, 1, 1), any).empty());
  CHECK_FALSE(fault_of(curve(Curve::exponential, -1, 1, 1), any).empty());
  CHECK_FALSE(fault_of(pieces({1, 2}, {1, 2}), any).empty());
  CHECK_FALSE(fault_of(pieces({2, 2}, {1, 2, 3}), any).empty());
  CHECK_FALSE(fault_of(pieces({1}, {1, std::nan("")}), any).empty());
}

TEST_CASE("each step has the weight of the updates before it, and says so") {
  Fixture m(weighed(ramp));
  for (int step = 0; step < 6; ++step) {
    const StepResult result = m.session.train_step(m.feed());
    CHECK(result.terms[0].weight == std::min(1.0, step / 4.0));
    CHECK(result.terms[1].weight == 2);
    check_sum(result);
  }
}

TEST_CASE("a scheduled run has the bits of a run whose host sets the same weights") {
  Fixture scheduled(weighed(ramp)), steered(weighed("0.5"));
  for (int step = 0; step < 6; ++step) {
    steered.session.set_weight("small", std::min(1.0, step / 4.0));
    const double total = steered.session.train_step(steered.feed()).total;
    CHECK(scheduled.session.train_step(scheduled.feed()).total == total);
    CHECK(scheduled.bits() == steered.bits());
  }
}

TEST_CASE("a scheduled run follows the double-precision reference over its steps") {
  Fixture m(weighed(R"({ "type": "exponential", "from": 0.01, "to": 4, "length": 3, "start": 1 })"));
  Diagnostics diagnostics;
  const Spec spec = parse_spec(m.session.plan().spec, "scheduled", diagnostics);
  Interpreter reference(trained_graph(spec), 4);
  for (const Parameter& parameter : m.session.plan().parameters) {
    const Tensor value = m.session.parameter(parameter.name);
    Array array(value.dims);
    for (std::int64_t i = 0; i < array.count(); ++i) array[i] = value.data<float>()[i];
    reference.set(parameter.name, array);
  }
  for (const auto& [name, tensor] : {std::pair("x", &m.x), std::pair("y", &m.y)}) {
    Array array(tensor->dims);
    for (std::int64_t i = 0; i < array.count(); ++i) array[i] = tensor->data<float>()[i];
    reference.set(name, array);
  }
  reference.set_scalar("learning_rate", 0.1);
  for (int step = 0; step < 6; ++step) {
    reference.train_step();
    CHECK(m.session.train_step(m.feed()).terms[0].value ==
          doctest::Approx(reference.value("loss.small")[0]).epsilon(1e-5));
  }
}

TEST_CASE("evaluation uses the weights of the step that comes next and moves nothing") {
  Fixture m(weighed(ramp));
  CHECK(m.session.evaluate(m.feed()).terms[0].weight == 0);
  m.step();
  CHECK(m.session.evaluate(m.feed()).terms[0].weight == 0.25);
  const StepResult result = m.session.evaluate(m.feed());
  CHECK(result.terms[0].weight == 0.25);
  check_sum(result);
  CHECK(m.step() == 0.25);
}

TEST_CASE("a run that goes on from a count of steps goes on with its weights") {
  Fixture whole(weighed(ramp)), second(weighed(ramp));
  whole.step(), whole.step();
  for (const Parameter& parameter : whole.session.plan().parameters)
    second.session.set_parameter(parameter.name, whole.session.parameter(parameter.name));
  second.session.set_steps(whole.session.steps());
  for (int step = 0; step < 3; ++step) {
    CHECK(second.step() == whole.step());
    CHECK(second.bits() == whole.bits());
  }
}

TEST_CASE("the host's weight holds from then on") {
  Fixture m(weighed(ramp));
  m.step();
  m.session.set_weight("small", 0.125);
  CHECK(m.step() == 0.125);
  CHECK(m.step() == 0.125);
  CHECK(m.session.evaluate(m.feed()).terms[0].weight == 0.125);
}

TEST_CASE("a schedule of epochs changes between epochs and nowhere else") {
  const std::string text =
      weighed(R"({ "type": "piecewise", "boundaries": [0, 1], "values": [0, 0.5, 1], "per": "epoch" })");
  Session session(compiled(text), {.seed = 1});
  Dataset set;
  set.bind(DatasetInput{"x", {4}, DType::f32}, RandomSamples{8, 0}, 5);
  set.bind(DatasetInput{"y", {3}, DType::f32}, RandomSamples{8, 0}, 5);
  std::vector<double> weights, validated;
  TrainerOptions options;
  options.settings = {4, 3, 0, true, false};
  options.on_step = [&](const StepEvent& event) { weights.push_back(event.result.terms[0].weight); };
  options.on_epoch = [&](const EpochEvent& event) { validated.push_back(event.validation->terms[0].weight); };
  train(session, set, &set, options);
  CHECK(weights == std::vector<double>{0, 0, 0.5, 0.5, 1, 1});
  CHECK(validated == std::vector<double>{0.5, 1, 1});
  CHECK(session.epochs() == 3);
}

TEST_CASE("an epoch that a limit cut short is not completed") {
  Session session(compiled(weighed(ramp)), {.seed = 1});
  Dataset set;
  set.bind(DatasetInput{"x", {4}, DType::f32}, RandomSamples{8, 0}, 5);
  set.bind(DatasetInput{"y", {3}, DType::f32}, RandomSamples{8, 0}, 5);
  TrainerOptions options;
  options.settings = {4, 3, 0, true, false};
  options.steps = 3;
  train(session, set, nullptr, options);
  CHECK(session.epochs() == 1);
}

TEST_CASE("a scheduled term is trained, also where it starts at 0, with a zero gradient in that step") {
  const std::string text = with(weighed(ramp), R"("weight": 2)", R"("weight": 0)");  // nothing else is trained
  Fixture m(text);
  const auto before = m.bits();
  m.session.train_step(m.feed());
  CHECK(m.bits() == before);
  const Tensor gradient = m.session.gradient("hidden.kernel");
  for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
  m.session.train_step(m.feed());
  CHECK(m.bits() != before);
}

TEST_CASE("at a weight of 0 an infinite loss contributes exactly 0 and stops nothing; above 0 it stops the step") {
  const std::string tail = R"({ "name": "tail", "type": "dense", "units": 2, "from": "x" },
    { "name": "answer", "type": "dense", "from": "hidden",)";
  const std::string text = weighed(R"({ "type": "piecewise", "boundaries": [1], "values": [0, 1] })");
  Fixture m(with(with(text, R"({ "name": "answer", "type": "dense",)", tail), R"("at": "hidden")", R"("at": "tail")"));
  Tensor kernel = m.session.parameter("tail.kernel");
  for (std::int64_t i = 0; i < kernel.count(); ++i) kernel.data<float>()[i] = 3.4e38f;
  m.session.set_parameter("tail.kernel", kernel);
  for (int step = 0; step < 2; ++step) {
    const StepResult result = m.session.train_step(m.feed());
    CHECK(std::isinf(result.terms[0].value));
    CHECK(result.terms[0].contribution == 0);
    CHECK(result.total == result.terms[1].contribution);
    CHECK(result.total > 0);
  }
  CHECK(m.session.parameter("tail.kernel").bytes == kernel.bytes);
  const auto before = m.bits();
  CHECK(message_of([&] { m.session.train_step(m.feed()); }).find("is not finite") != std::string::npos);
  CHECK(m.bits() == before);
  CHECK(m.session.steps() == 2);
}

TEST_CASE("normalized weights are the given ones divided by their sum, in every step") {
  Fixture m(with(weighed(ramp), R"("loss": {)", R"("loss": { "combine": "normalized",)"));
  for (int step = 0; step < 6; ++step) {
    const double given = std::min(1.0, step / 4.0);
    const StepResult result = m.session.train_step(m.feed());
    CHECK(result.terms[0].weight == given / (given + 2));
    CHECK(result.terms[1].weight == 2 / (given + 2));
    check_sum(result);
  }
  m.session.set_weight("fit", 3);
  CHECK(m.step() == 0.25);
  const StepResult evaluated = m.session.evaluate(m.feed());
  CHECK(evaluated.terms[1].weight == 0.75);
  check_sum(evaluated);
}

TEST_CASE("normalized weights that are all 0 are 0, and such a step changes nothing") {
  Fixture m(with(weighed(ramp), R"("loss": {)", R"("loss": { "combine": "normalized",)"));
  m.session.set_weight("fit", 0);
  const auto before = m.bits();
  const StepResult result = m.session.train_step(m.feed());
  CHECK(result.terms[0].weight == 0);
  CHECK(result.terms[1].weight == 0);
  CHECK(result.total == 0);
  CHECK(m.bits() == before);
}

TEST_CASE("what is excluded or watched has no part in the sum that weights are divided by") {
  const std::string normalized = with(weighed("1"), R"("loss": {)", R"("loss": { "combine": "normalized",)");
  CHECK(compiled(normalized)->normalized_weights);
  Session excluded(compiled(normalized, {.exclude = {"small"}}), {.seed = 3});
  Session watched(compiled(with(normalized, R"("weight": 1)", R"("weight": 0)")), {.seed = 3});
  const Tensor x = made_up({4, 4}, 1), y = made_up({4, 3}, 2);
  const Feed feed{{"x", x}, {"y", y}};
  CHECK(excluded.train_step(feed).terms[0].weight == 1);
  const StepResult result = watched.train_step(feed);
  CHECK(result.terms[0].weight == 0);
  CHECK(result.terms[1].weight == 1);
}

TEST_CASE("a plan with schedules reads back the same, and a wrong one is refused") {
  const std::string text =
      with(weighed(ramp), R"("weight": 2)",
           R"("weight": { "type": "piecewise", "boundaries": [3], "values": [0, 1], "per": "epoch" })");
  const auto plan = compiled(with(text, R"("loss": {)", R"("loss": { "combine": "normalized",)"));
  CHECK(plan_from_json(plan_to_json(*plan)) == *plan);
  CHECK(plan->schedules.size() == 2);
  CHECK(print_plan(*plan).find("linear from 0 to 1 over 4 steps") != std::string::npos);
  const auto refusal = [&](auto&& change) {
    Plan wrong = *plan;
    const auto linear = std::find_if(wrong.schedules.begin(), wrong.schedules.end(),
                                     [](const ScheduledScalar& one) { return one.schedule.curve == Curve::linear; });
    change(*linear, wrong);
    return message_of([&] { validate_plan(wrong); });
  };
  CHECK(refusal([](ScheduledScalar& one, Plan&) { one.schedule.length = 0; }).find("length") != std::string::npos);
  CHECK(refusal([](ScheduledScalar& one, Plan&) { one.schedule.to = -1; }).find("below 0") != std::string::npos);
  CHECK(refusal([](ScheduledScalar& one, Plan&) { one.scalar = 99; }).find("no such scalar") != std::string::npos);
  CHECK(refusal([](ScheduledScalar& one, Plan& all) { one.scalar = all.scalar("step"); }).find("something else") !=
        std::string::npos);
  CHECK(refusal([](ScheduledScalar&, Plan& all) {
          all.schedules.push_back(all.schedules[0]);
        }).find("something else") != std::string::npos);
  std::string json = plan_to_json(*plan);
  CHECK(message_of([&] {
          plan_from_json(with(json, R"("curve": "linear")", R"("curve": "straight")"));
        }).find("unknown curve") != std::string::npos);
}

TEST_CASE("verify holds where weights are scheduled and normalized, also at a weight of 0") {
  VerifyOptions options;
  options.threads = 1;
  for (const char* weight : {R"({ "type": "linear", "from": 0, "to": 1, "length": 4 })", "0.5"}) {
    CAPTURE(std::string(weight));
    Diagnostics diagnostics;
    const std::string text = with(weighed(weight), R"("loss": {)", R"("loss": { "combine": "normalized",)");
    const VerifySubjects subjects = prepare_verify(text, options, diagnostics);
    REQUIRE(!diagnostics.has_errors());
    const VerifyReport report = verify_gradients(subjects, options);
    CHECK(report.problems() == std::vector<std::string>{});
    CHECK(report.terms[0].weight == (std::string(weight) == "0.5" ? 0.2 : 0));
    CHECK(report.terms[0].parameters.size() == 2);
  }
}

TEST_CASE("explain says what a weight follows") {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(weighed(ramp), "scheduled", diagnostics);
  const Explanation explanation = explain(spec, diagnostics);
  CHECK(explanation.terms[0].role == TermRole::trained);
  CHECK(to_text(explanation).find("weight linear from 0 to 1 over 4 steps") != std::string::npos);
  CHECK(nlohmann::json::parse(to_json(explanation))["terms"][0]["schedule"] == "linear from 0 to 1 over 4 steps");
}

}  // namespace weir
