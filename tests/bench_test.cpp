// weir bench and what it is made of: the machine's limits, the times of steps.
#include <doctest/doctest.h>

#include "runtime/machine.hpp"
#include "tests/command_line.hpp"
#include "tests/models.hpp"

using namespace weir;
using namespace weir::command_line;

TEST_CASE("bench lists every step of the training program with its kernel, time and limit") {
  const Workspace work;
  const Outcome result = run({"bench", work.model(), "--steps", "5", "--threads", "1", "--json"});
  REQUIRE(result.code == 0);
  const json report = json::parse(result.out);
  CHECK(report["model"] == "small");
  CHECK(report["batch_size"] == 8);
  CHECK(report["machine"]["flops_per_second"] > 1e8);
  double sum = 0;
  bool forward = false, update = false;
  for (const json& step : report["steps"]) {
    sum += step["seconds"].get<double>();
    CHECK(step["limit_seconds"] > 0);
    CHECK(step["least_seconds"] <= step["seconds"]);
    forward = forward || (step["node"] == "hidden" && step["when"] == "compute" && step["kind"] == "products");
    update = update || (step["kernel"] == "adam" && step["when"] == "commit" && step["kind"] == "memory");
  }
  CHECK(forward);
  CHECK(update);
  CHECK(sum > 0);
  CHECK(report["least_seconds"] <= report["seconds"]);
  CHECK(report["overhead_seconds"].get<double>() == doctest::Approx(report["seconds"].get<double>() - sum));
}

TEST_CASE("bench prints a table for people, of a plan too, and refuses a plan that does not train") {
  const Workspace work;
  const Outcome result = run({"bench", work.plan(), "--steps", "2"});
  CHECK(result.code == 0);
  for (const char* part : {"small: an update with 8 samples, 1 thread", "GFLOP/s", "hidden", "between", "fastest"})
    CHECK_MESSAGE(result.prints(part), result.out);
  work.write("still.weir.json",
             R"({"format": "weir/1", "inputs": {"x": {"shape": [3]}},
                 "layers": [{"name": "hidden", "type": "dense", "units": 5, "from": "x"}]})");
  const Outcome still = run({"bench", work.path("still.weir.json")});
  CHECK(still.code == 2);
  CHECK(still.says("has no train program"));
  CHECK(run({"bench", work.model(), "--steps", "0"}).says("expected a whole number, 1 or more"));
}

TEST_CASE("a session times its steps on demand, which changes no bit") {
  const auto plan = compiled(small_spec);
  const Tensor x = made_up({8, 3}, 1), label = made_up_classes(8, 4);
  const Feed feed = {{"x", x}, {"label", label}};
  Session timed(plan, {.seed = 3}), plain(plan, {.seed = 3});
  CHECK(timed.step_seconds().empty());
  timed.set_timing(true);
  for (int step = 0; step < 3; ++step) CHECK(timed.train_step(feed).total == plain.train_step(feed).total);
  const Program& program = *plan->find(ProgramKind::train, 8);
  REQUIRE(timed.step_seconds().size() == program.refresh.size() + program.compute.size() + program.commit.size());
  for (double seconds : timed.step_seconds()) CHECK((seconds >= 0 && seconds < 10));
  timed.gradient_step(feed);
  CHECK(timed.step_seconds().back() == 0);  // no update
  CHECK(plain.step_seconds().empty());
}

TEST_CASE("a machine's limit is the slower of arithmetic and memory") {
  const Machine machine{1, 100, {{10, 50}, {1000, 5}}};
  CHECK(machine.seconds_for(200, 1) == 2);
  CHECK(machine.seconds_for(1, 10) == doctest::Approx(0.2));
  CHECK(machine.seconds_for(1, 500) == 100);
  CHECK(machine.bytes_per_second(1e6) == 5);
}
