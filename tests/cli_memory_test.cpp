// --memory-budget and weir show --memory.
#include "tests/command_line.hpp"

using namespace weir;
using namespace weir::command_line;

namespace {

/// Layers enough that keeping their results is most of the memory.
std::string wide_spec() {
  std::string layers;
  for (int i = 0; i < 6; ++i)
    layers += R"({"name": "dense_)" + std::to_string(i) + R"(", "type": "dense", "units": 32, "activation": "gelu"},)";
  return replaced(small_spec, R"({"name": "hidden", "type": "dense", "units": 5, "activation": "relu", "from": "x"},)",
                  R"({"name": "hidden", "type": "dense", "units": 32, "from": "x"},)" + layers);
}

/// With batches of 64 unless the flags say otherwise.
json memory_of(const Workspace& work, std::vector<std::string> flags = {}) {
  std::vector<std::string> arguments{"show", work.model(), "--memory", "--json", "--threads", "1"};
  if (std::find(flags.begin(), flags.end(), "--batch-size") == flags.end())
    arguments.insert(arguments.end(), {"--batch-size", "64"});
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Outcome shown = run(arguments);
  REQUIRE_MESSAGE(shown.code == 0, shown.err);
  return json::parse(shown.out);
}

}  // namespace

TEST_CASE("a size is a number with a unit, and anything else is wrong usage") {
  const Workspace work;
  const std::vector<std::string> wrong_ones{"24XB", "MB",       "-1MB",        "24 MB", "1e6",
                                            "0",    "0.0001kB", "99999999TiB", "24MBs", "nanMB"};
  for (const std::string& wrong : wrong_ones) {
    INFO(wrong);
    const Outcome refused = run({"show", work.model(), "--memory-budget=" + wrong});
    CHECK(refused.code == 2);
    CHECK(refused.says("--memory-budget " + wrong + ": expected a size, such as 24MB, 512KiB or 1.5GiB"));
  }
  const std::vector<std::string> right_ones{"1GB",  "1.5GiB",   "2000000", "2000kB", "2000KB",
                                            "3MiB", "2000000B", "3000KiB", "1TB",    "1TiB"};
  for (const std::string& right : right_ones) {
    INFO(right);
    CHECK(run({"show", work.model(), "--memory-budget", right, "--threads", "1"}).code == 0);
  }
}

TEST_CASE("show --memory says what less memory costs, and a budget of that size is kept") {
  const Workspace work;
  work.write("small.weir.json", wide_spec());
  const json shown = memory_of(work);
  const json& points = shown["curves"][0]["points"];
  REQUIRE(points.size() > 1);
  CHECK(points[0]["arena_bytes"] == shown["arena_bytes"]);
  CHECK(points[0]["memory_bytes"] == shown["memory_bytes"]);
  CHECK(points[0]["again"].empty());
  const json& last = points[points.size() - 1];
  CHECK(last["added_time"] > 0);
  CHECK(last["added_bytes"] > 0);
  CHECK_FALSE(last["again"].empty());
  const json fitted = memory_of(work, {"--memory-budget", std::to_string(last["memory_bytes"].get<std::uint64_t>())});
  CHECK(fitted["memory_bytes"] == last["memory_bytes"]);
  CHECK(fitted["curves"] == shown["curves"]);
  const json summary = json::parse(run({"show", work.model(), "--json", "--threads", "1", "--batch-size", "64"}).out);
  CHECK(summary["memory_bytes"] == shown["memory_bytes"]);
}

TEST_CASE("show --memory names the budget that keeps everything, where the default does not") {
  const auto shown = [](const std::string& batch, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"show",     std::string(WEIR_SOURCE_DIR) + "/bench/models/resnet20.weir.json",
                                       "--memory", "--threads",
                                       "1",        "--batch-size",
                                       batch};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments).out;
  };
  const std::string large = shown("128"), word = "--memory-budget ";
  const std::size_t at = large.find("taken: ");
  REQUIRE(at != std::string::npos);
  const std::size_t number = large.find(word, at) + word.size();
  const std::string budget = large.substr(number, large.find(' ', number) - number);
  CHECK(large.find(" keeps everything\n", number) == number + budget.size());
  CHECK(large.find(" again ") != std::string::npos);
  CHECK(shown("128", {"--memory-budget", budget}).find("taken: ") == std::string::npos);
  CHECK(shown("16").find("taken: ") == std::string::npos);
}

TEST_CASE("the arena is shown step by step: what lives at each, and what fills the fullest") {
  const Workspace work;
  const json program = memory_of(work)["program"];
  CHECK(program["kind"] == "train");
  std::uint64_t most = 0;
  for (const json& step : program["steps"]) most = std::max(most, step["live_bytes"].get<std::uint64_t>());
  CHECK(most <= program["lower_bound"]);
  CHECK(most >= program["lower_bound"].get<std::uint64_t>() * 9 / 10);
  for (const json& buffer : program["buffers"]) {
    CHECK(buffer["first"] <= buffer["last"]);
    CHECK(buffer["offset"].get<std::uint64_t>() + buffer["bytes"].get<std::uint64_t>() <= program["arena_bytes"]);
  }
  const Outcome text = run({"show", work.model(), "--memory", "--threads", "1"});
  for (const char* part : {"together: ", "train 8: smaller arenas", "computed again", "train 8: the arena step by step",
                           " fullest\n", "largest then"})
    CHECK_MESSAGE(text.prints(part), part);
  const Outcome drawn = run({"show", work.model(), "--memory", "--as", "svg", "--threads", "1"});
  CHECK(drawn.out.starts_with("<svg "));
  CHECK(drawn.prints("<title>small: the arena of train 8"));
  CHECK(drawn.prints("x: input, "));
  CHECK(run({"show", work.model(), "--memory", "--as", "dot"}).says("--memory --as dot: expected table, json or svg"));
  CHECK(run({"show", work.model(), "--memory", "--as", "text"}).code == 2);
}

TEST_CASE("a plan has its arena shown, and takes no budget") {
  const Workspace work;
  const std::string plan = work.plan();
  const Outcome shown = run({"show", plan, "--memory"});
  CHECK(shown.prints("the arena step by step"));
  CHECK_FALSE(shown.prints("smaller arenas"));
  for (const char* command : {"show", "train"}) {
    const Outcome refused = run({command, plan, "--memory-budget", "24MB"});
    CHECK(refused.code == 2);
    CHECK(refused.says("--memory-budget 24000000 on a plan: "));
  }
}

TEST_CASE("a budget that is too small is refused before anything runs") {
  const Workspace work;
  const Outcome refused = train(work, {"--memory-budget", "1KiB"});
  CHECK(refused.code == 1);
  CHECK(refused.says("error: the memory budget of 1024 bytes is too small: at least "));
  CHECK(refused.says("[E0501]"));
  CHECK(refused.says("take a smaller batch size, or a budget of "));
  CHECK_FALSE(work.has("run"));
  CHECK(run({"compile", work.model(), "-o", work.path("small.plan"), "--memory-budget", "1KiB"}).code == 1);
  CHECK_FALSE(work.has("small.plan"));
}

TEST_CASE("training under a budget gives the same weights, from the specification and from its plan") {
  const Workspace work;
  work.write("small.weir.json", replaced(replaced(wide_spec(), R"("x": {"random": 20})", R"("x": {"random": 128})"),
                                         R"("label": {"random": 20)", R"("label": {"random": 128)"));
  const json points = memory_of(work)["curves"][0]["points"];
  const std::string least = std::to_string(points[points.size() - 1]["memory_bytes"].get<std::uint64_t>());
  REQUIRE(train(work, {"--batch-size", "64"}).code == 0);
  const auto expected = weights(work, "run/last.safetensors");
  const Outcome budgeted = train(work, {"--force", "--batch-size", "64", "--memory-budget", least});
  REQUIRE_MESSAGE(budgeted.code == 0, budgeted.err);
  const auto found = weights(work, "run/last.safetensors");
  CHECK(found.size() == expected.size());
  for (const auto& one : expected) CHECK_MESSAGE(found.at(one.first).bytes == one.second.bytes, one.first);
  const Outcome shown = run({"show", work.plan({"--batch-size", "64", "--memory-budget", least}), "--as", "text"});
  CHECK(shown.prints(" again\n"));
  CHECK(train(work, {"--force", "--gradient-norms", "--memory-budget", "1GB"})
            .says("--gradient-norms with --memory-budget: the gradient of each term takes memory of its own"));
}
