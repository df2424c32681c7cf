// weir bench and what it is made of: the machine's limits, the times of steps.
#include <doctest/doctest.h>

#include <stdlib.h>

#include "compiler/cli/bench_drawing.hpp"
#include "compiler/cli/known_machine.hpp"
#include "runtime/machine.hpp"
#include "tests/command_line.hpp"
#include "tests/models.hpp"
#include "tests/svg_elements.hpp"

using namespace weir;
using namespace weir::command_line;

namespace {

/// A workspace that also holds what is known of machines, instead of the user's own folder.
struct BenchWorkspace : Workspace {
  BenchWorkspace() { setenv("XDG_CACHE_HOME", path("cache").c_str(), 1); }
  ~BenchWorkspace() { unsetenv("XDG_CACHE_HOME"); }

  json known() const { return json::parse(read("cache/weir/machines.json")); }
  void make_known(const std::string& text) const {
    fs::create_directories(path("cache/weir"));
    write("cache/weir/machines.json", text);
  }
};

/// Asks for the machine; measuring gives the number of the measurement.
struct Asking {
  double measured = 0;
  std::string warnings;

  Machine operator()(int threads, const std::string& instructions, bool anew = false) {
    std::ostringstream out, err;
    const Machine machine = cli::known_machine(threads, instructions, anew, {out, err}, [&](int count) {
      return Machine{count, ++measured, {{1 << 15, 0.1}, {1 << 26, 1e9 / 3}}};
    });
    warnings = err.str();
    return machine;
  }
};

cli::StepTime made_up_step(const std::string& node, const std::string& layer, std::string_view phase,
                           std::string_view kind, double seconds, double limit) {
  return {.node = node,
          .layer = layer,
          .kernel = "kernel_of_" + layer,
          .when = "compute",
          .phase = phase,
          .kind = kind,
          .limit = limit,
          .seconds = seconds,
          .least = seconds / 2};
}

double number(const Tag& tag, const std::string& key) { return std::stod(tag.attributes.at(key)); }

}  // namespace

TEST_CASE("bench lists every step of the training program with its kernel, time and limit") {
  const BenchWorkspace work;
  const Outcome result = run({"bench", work.model(), "--steps", "5", "--threads", "1", "--json"});
  REQUIRE(result.code == 0);
  const json report = json::parse(result.out);
  CHECK(report["model"] == "small");
  CHECK(report["batch_size"] == 8);
  CHECK(report["machine"]["flops_per_second"] > 1e8);
  double sum = 0;
  bool forward = false, backward = false, update = false;
  for (const json& step : report["steps"]) {
    sum += step["seconds"].get<double>();
    CHECK(step["limit_seconds"] > 0);
    CHECK(step["least_seconds"] <= step["seconds"]);
    forward = forward || (step["node"] == "hidden" && step["when"] == "compute" && step["kind"] == "products" &&
                          step["phase"] == "forward" && step["layer"] == "hidden");
    backward = backward ||
               (step["node"] == "output gradient_input" && step["phase"] == "backward" && step["layer"] == "output");
    update = update || (step["kernel"] == "adam" && step["when"] == "commit" && step["kind"] == "memory" &&
                        step["phase"] == "update" && step["layer"] == "4 parameters");
  }
  CHECK(forward);
  CHECK(backward);
  CHECK(update);
  CHECK(sum > 0);
  CHECK(report["least_seconds"] <= report["seconds"]);
  const double limit = report["limit_seconds"].get<double>(), seconds = report["seconds"].get<double>();
  CHECK(report["of_limit"].get<double>() == doctest::Approx(limit / seconds));
  CHECK(report["overhead_seconds"].get<double>() == doctest::Approx(report["seconds"].get<double>() - sum));
}

TEST_CASE("bench prints a table for people, of a plan too, and refuses a plan that does not train") {
  const BenchWorkspace work;
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

TEST_CASE("an update is drawn with every step once, as wide as its time, on its layer, phase and the whole") {
  const std::string odd = "b<\"&>";
  cli::Measured measured;
  measured.steps = {made_up_step("a", "a", "forward", "products", 2e-3, 1e-3),
                    made_up_step(odd, odd, "forward", "memory", 1e-3, 2e-3),
                    made_up_step("a gradient", "a", "backward", "products", 3e-3, 3e-3),
                    made_up_step("a gradient reorder", "a", "backward", "reorders", 1e-3, 0),
                    made_up_step("p, q, r", "3 parameters", "update", "memory", 1e-3, 1e-3)};
  measured.whole = 10e-3;  // 2 ms between the steps
  const std::string svg = cli::bench_svg(measured, "the heading", "the machine");
  CHECK(svg.find("the heading") != std::string::npos);
  CHECK(svg.find("p and 2 more") != std::string::npos);
  std::map<std::string, std::pair<double, double>> boxes;  // left edge and width
  std::map<std::string, double> limits;
  const std::vector<Tag> tags = elements(svg);
  for (std::size_t i = 0; i < tags.size(); ++i) {
    if (tags[i].name != "g" || !tags[i].attributes.contains("data-name")) continue;
    const std::string name = tags[i].attributes.at("class") + " " + tags[i].attributes.at("data-name");
    const bool added = boxes.emplace(name, std::pair(number(tags[i + 2], "x"), number(tags[i + 2], "width"))).second;
    CHECK_MESSAGE((added || name == "layer a"), name);
    limits[name] = tags[i + 3].name == "rect" ? number(tags[i + 3], "width") : 0;
  }
  CHECK(boxes.size() == 1 + 4 + 3 + 5);  // layer a stands in two phases
  const double millisecond = boxes.at("update an update").second / 10;
  const auto wide = [&](const std::string& name, double milliseconds, double limit) {
    CHECK(boxes.at(name).second == doctest::Approx(milliseconds * millisecond).epsilon(1e-3));
    CHECK(limits.at(name) == doctest::Approx(limit * millisecond).epsilon(1e-3));
  };
  wide("phase forward", 3, 3);
  wide("phase backward", 4, 3);
  wide("phase update", 1, 1);
  wide("phase between", 2, 0);
  wide("layer " + odd, 1, 1);
  wide("step a", 2, 1);
  wide("step " + odd, 1, 1);
  wide("step a gradient reorder", 1, 0);
  CHECK(boxes.at("step " + odd).first == doctest::Approx(boxes.at("step a").first + 2 * millisecond).epsilon(1e-3));
  CHECK(boxes.at("phase between").first == doctest::Approx(boxes.at("phase update").first + millisecond).epsilon(1e-3));
}

TEST_CASE("bench --as svg draws the steps of a real update") {
  const BenchWorkspace work;
  const Outcome drawn = run({"bench", work.model(), "--as", "svg", "--steps", "2", "--threads", "1"});
  REQUIRE_MESSAGE(drawn.code == 0, drawn.err);
  std::set<std::string> phases, steps;
  for (const Tag& tag : elements(drawn.out)) {
    const auto level = tag.attributes.find("class");
    if (level != tag.attributes.end() && level->second == "phase") phases.insert(tag.attributes.at("data-name"));
    if (level != tag.attributes.end() && level->second == "step") steps.insert(tag.attributes.at("data-name"));
  }
  CHECK(phases == std::set<std::string>{"forward", "backward", "update", "between"});
  CHECK(steps.contains("hidden"));
  CHECK(steps.contains("output gradient_parameters"));
  CHECK(json::parse(run({"bench", work.model(), "--as", "svg", "--steps", "1", "--json"}).out)["as"] == "svg");
  CHECK(run({"bench", work.model(), "--as", "dot"}).says("--as dot: expected one of table, svg"));
}

TEST_CASE("the machine's limits are measured once for a CPU, instructions and threads, and kept") {
  const BenchWorkspace work;
  Asking ask;
  CHECK(ask(1, "some").flops_per_second == 1);
  const Machine kept = ask(1, "some");
  CHECK(kept.flops_per_second == 1);
  REQUIRE(kept.levels.size() == 2);
  CHECK(kept.levels[1].bytes == 1 << 26);
  CHECK(kept.levels[1].bytes_per_second == 1e9 / 3);
  CHECK(ask(2, "some").flops_per_second == 2);
  CHECK(ask(2, "some").threads == 2);
  CHECK(ask(1, "other").flops_per_second == 3);
  CHECK(ask(1, "some", true).flops_per_second == 4);
  CHECK(ask(1, "some").flops_per_second == 4);
  CHECK(ask(2, "some").flops_per_second == 2);
  CHECK(work.known()["machines"].size() == 3);
  json known = work.known();
  CHECK(known["machines"][0]["cpu"] == cpu_model());
  for (json& machine : known["machines"]) machine["cpu"] = "another";
  work.make_known(known.dump());
  CHECK(ask(1, "some").flops_per_second == 5);
  CHECK(ask.warnings.empty());
  known = work.known();
  while (known["machines"].size() < 32) known["machines"].push_back(known["machines"][0]);
  work.make_known(known.dump());
  CHECK(ask(1, "some").flops_per_second == 5);
  CHECK(ask(9, "some").flops_per_second == 6);
  CHECK(work.known()["machines"].size() == 32);
  CHECK(work.known()["machines"].back()["threads"] == 9);
  CHECK(work.known()["machines"][0] == known["machines"][1]);  // the oldest went
}

TEST_CASE("bench takes the machine's limits from the file, and measures them with --recalibrate") {
  const BenchWorkspace work;
  const auto flops = [&](std::vector<std::string> flags) {
    std::vector<std::string> arguments{"bench", work.model(), "--steps", "1", "--threads", "1", "--json"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return json::parse(run(arguments).out)["machine"]["flops_per_second"].get<double>();
  };
  CHECK(flops({}) > 1e8);
  json known = work.known();
  known["machines"][0]["flops_per_second"] = 12345;
  work.make_known(known.dump());
  CHECK(flops({}) == 12345);
  CHECK(flops({"--recalibrate"}) > 1e8);
  CHECK(work.known()["machines"][0]["flops_per_second"] > 1e8);
}

TEST_CASE("a file of machines that is none is replaced, with a warning") {
  const BenchWorkspace work;
  Asking ask;
  const auto machines = [](const std::string& numbers) {
    return R"({"format": "weir-machines/1", "machines": [{"cpu": "a", "instructions": "b", "threads": 1, )" + numbers +
           "}]}";
  };
  for (const std::string& text : std::vector<std::string>{
           "", "[]", R"({"format": "weir-machines/9", "machines": []})", R"({"format": "weir-machines/1"})",
           machines(R"("flops_per_second": 0, "memory": [{"bytes": 1, "bytes_per_second": 1}])"),
           machines(R"("flops_per_second": "9", "memory": [{"bytes": 1, "bytes_per_second": 1}])"),
           machines(R"("flops_per_second": 1, "memory": [])"),
           machines(R"("flops_per_second": 1, "memory": [{"bytes": 2, "bytes_per_second": 1},
                                                         {"bytes": 1, "bytes_per_second": 1}])")}) {
    CAPTURE(text);
    work.make_known(text);
    const double before = ask.measured;
    CHECK(ask(1, "some").flops_per_second == before + 1);
    CHECK(ask.warnings.find("machines.json is not used, the machine is measured again: ") != std::string::npos);
    CHECK(work.known()["machines"].size() == 1);
    CHECK(ask(1, "some").flops_per_second == before + 1);
    CHECK(ask.warnings.empty());
  }
  fs::remove_all(work.path("cache"));
  work.write("cache", "a file where the folder should be");
  const double before = ask.measured;
  CHECK(ask(1, "some").flops_per_second == before + 1);
  CHECK(ask.warnings.find("what was measured is not kept: ") != std::string::npos);
}
