#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

#include "tests/command_line.hpp"

using namespace weir;
using namespace weir::command_line;

TEST_CASE("training leaves lines, weights and the effective specification in the run's folder") {
  const Workspace work;
  const Outcome done = train(work, {"--epochs", "3", "--set", "train.optimizer.learning_rate=0.02"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(done.prints("contribution"));
  CHECK(done.prints("kept in " + work.path("run")));
  CHECK(done.says("arena"));
  const json effective = json::parse(work.read("run/model.weir.json"));
  CHECK(effective["train"]["epochs"] == 3);
  CHECK(effective["train"]["optimizer"]["learning_rate"] == 0.02);
  CHECK(weights(work, "run/last.safetensors").size() == 4);
  const auto lines = work.lines("run/metrics.jsonl");
  CHECK(lines.size() == 3 * (3 + 1));  // 20 samples in batches of 8: three steps an epoch
  CHECK(lines.front()["step"] == 1);
  CHECK(lines.front()["learning_rate"] == 0.02);
  CHECK(lines.back()["event"] == "epoch");
  CHECK(lines.back()["epoch"] == 3);
}

TEST_CASE("lines have exactly the keys of the specification") {
  const Workspace work;
  REQUIRE(train(work).code == 0);
  const auto keys = [](const json& object) {
    std::vector<std::string> names;
    for (const auto& item : object.items()) names.push_back(item.key());
    return names;
  };
  using Names = std::vector<std::string>;
  for (const json& line : work.lines("run/metrics.jsonl")) {
    if (line["event"] == "step") {
      CHECK(keys(line) == Names{"event", "epoch", "step", "learning_rate", "loss", "weight"});
      CHECK(keys(line["loss"]) == Names{"total", "tame", "final"});
      CHECK(keys(line["weight"]) == Names{"tame", "final"});
      continue;
    }
    CHECK(keys(line) == Names{"event", "epoch", "train", "validation", "seconds", "samples_per_second"});
    for (const char* set : {"train", "validation"}) {
      CHECK(keys(line[set]) == Names{"loss", "contribution", "accuracy"});
      CHECK(keys(line[set]["contribution"]) == Names{"tame", "final"});
    }
  }
}

TEST_CASE("the total is the sum of weight times value on every line") {
  const Workspace work;
  REQUIRE(train(work).code == 0);
  for (const json& line : work.lines("run/metrics.jsonl")) {
    if (line["event"] == "step") {
      double sum = 0;
      for (const auto& item : line["weight"].items())
        sum += item.value().get<double>() * line["loss"][item.key()].get<double>();
      CHECK(line["loss"]["total"].get<double>() == doctest::Approx(sum).epsilon(1e-6));
      continue;
    }
    for (const char* set : {"train", "validation"}) {
      double sum = 0;
      for (const auto& item : line[set]["contribution"].items()) sum += item.value().get<double>();
      CHECK(line[set]["loss"]["total"].get<double>() == doctest::Approx(sum).epsilon(1e-6));
    }
  }
}

TEST_CASE("--json prints the lines of metrics.jsonl and nothing else on standard output") {
  const Workspace work;
  const Outcome done = train(work, {"--json", "--log-every", "2"});
  REQUIRE(done.code == 0);
  CHECK(done.out == work.read("run/metrics.jsonl"));
  std::vector<int> steps;
  for (const json& line : work.lines("run/metrics.jsonl"))
    if (line["event"] == "step") steps.push_back(line["step"]);
  CHECK(steps == std::vector<int>{1, 2, 4, 6});
}

TEST_CASE("without a terminal there is one plain line for the first step and one for each epoch") {
  const Workspace work;
  const Outcome done = train(work);
  CHECK(done.says("step 1: total"));
  CHECK(done.says("epoch 1/2"));
  CHECK(done.says("epoch 2/2"));
  CHECK(done.err.find('\r') == std::string::npos);
  CHECK(done.err.find('\x1b') == std::string::npos);
}

TEST_CASE("on a terminal one line is drawn over and taken away at the end") {
  const Workspace work;
  std::ostringstream out, err;
  const cli::Console console{out, err, false, true, 40};
  REQUIRE(cli::run_program({"train", work.model(), "--out", work.path("run"), "--threads", "1"}, console) == 0);
  CHECK(err.str().find("\r\x1b[2Kepoch 1/2") != std::string::npos);
  CHECK(out.str().find('\x1b') == std::string::npos);
  CHECK(err.str().rfind("\r\x1b[2K") < err.str().rfind("epoch 2/2"));
}

TEST_CASE("an existing run is exit 2 unless it is forced") {
  const Workspace work;
  REQUIRE(train(work).code == 0);
  const std::string before = work.read("run/metrics.jsonl");
  const Outcome again = train(work, {"--epochs", "1"});
  CHECK(again.code == 2);
  CHECK(again.says("--force"));
  CHECK(work.read("run/metrics.jsonl") == before);
  CHECK(train(work, {"--epochs", "1", "--force"}).code == 0);
  CHECK(work.lines("run/metrics.jsonl").size() == 4);
  CHECK(run({"train", work.model(), "--out", work.model(), "--force"}).says("is a file"));
}

TEST_CASE("the first of --steps and --epochs ends training, and two runs give the same bits") {
  const Workspace work;
  REQUIRE(train(work, {"--steps", "4"}).code == 0);
  CHECK(work.lines("run/metrics.jsonl").size() == 4 + 2);
  const std::string first = work.read("run/last.safetensors");
  REQUIRE(train(work, {"--steps", "4", "--force"}).code == 0);
  CHECK(work.read("run/last.safetensors") == first);
  REQUIRE(train(work, {"--steps", "4", "--force", "--seed", "7"}).code == 0);
  CHECK(work.read("run/last.safetensors") != first);
  REQUIRE(train(work, {"--steps", "4", "--force", "--no-shuffle"}).code == 0);
  CHECK(work.read("run/last.safetensors") != first);
}

TEST_CASE("excluding the final loss warns once, needs no labels and leaves its parameters alone") {
  const Workspace work;
  work.write("blind.weir.json",
             replaced(small_spec, "\"label\": {\"random\": 20, \"classes\": 4}", "\"label\": \"not-there.npy\""));
  const auto command = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"train", work.path("blind.weir.json"), "--out", work.path("blind"), "--threads",
                                       "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  CHECK(command({}).code == 3);  // the label file is needed, and missing
  CHECK(!work.has("blind"));
  work.write("blind.weir.json",
             replaced(work.read("blind.weir.json"),
                      "\"metrics\": {\"accuracy\": {\"type\": \"categorical_accuracy\", \"at\": \"output\", "
                      "\"target\": {\"input\": \"label\", \"one_hot\": 4}}}",
                      "\"metrics\": {}"));
  const Outcome done = command({"--exclude", "output"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  const std::string warning = "output.kernel, output.bias are trained by no loss";
  CHECK(done.says(warning));
  CHECK(done.err.find(warning) == done.err.rfind(warning));
  CHECK(done.prints("excluded"));
  REQUIRE(run({"weights", "init", work.path("blind.weir.json"), "-o", work.path("init.safetensors")}).code == 0);
  const auto before = weights(work, "init.safetensors"), after = weights(work, "blind/last.safetensors");
  CHECK(before.at("output.kernel").bytes == after.at("output.kernel").bytes);
  CHECK(before.at("hidden.kernel").bytes != after.at("hidden.kernel").bytes);
}

TEST_CASE("training that diverges is exit 4 and keeps the last good parameters") {
  const Workspace work;
  std::string steep = replaced(small_spec, "\"weight\": 0.1", "\"weight\": 1e25");
  steep = replaced(steep, "\"mean_absolute_error\", \"at\": \"hidden\"",
                   "\"mean_squared_error\", \"at\": \"output:linear\"");
  steep = replaced(steep, "\"adam\"", "\"sgd\"");
  work.write("steep.weir.json", replaced(steep, "\"epochs\": 2", "\"epochs\": 50"));
  const Outcome diverged = run({"train", work.path("steep.weir.json"), "--out", work.path("run"), "--threads", "1"});
  CHECK(diverged.code == 4);
  CHECK(diverged.says("training diverged"));
  CHECK(diverged.says("last.safetensors"));
  for (const auto& [name, values] : weights(work, "run/last.safetensors"))
    for (std::int64_t i = 0; i < values.count(); ++i) CHECK(std::isfinite(values.data<float>()[i]));
}

TEST_CASE("SIGINT ends training after a step, keeps it and is exit 130; SIGTERM 143") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Workspace work;
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int stream : {STDOUT_FILENO, STDERR_FILENO}) dup2(open("/dev/null", O_WRONLY), stream);
      execl(WEIR_PROGRAM, "weir", "train", work.model().c_str(), "--out", work.path("run").c_str(), "--threads", "1",
            "--epochs", "100000000", "--log-every", "1000000", static_cast<char*>(nullptr));
      _exit(99);
    }
    for (int i = 0; i < 600 && !(work.has("run/metrics.jsonl") && fs::file_size(work.path("run/metrics.jsonl")) > 0);
         ++i)
      usleep(50'000);
    REQUIRE(kill(child, signal) == 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 128 + signal);
    CHECK(weights(work, "run/last.safetensors").size() == 4);
  }
}

TEST_CASE("a spec without the sections that training needs is exit 1") {
  const Workspace work;
  const std::size_t loss = small_spec.find("\"loss\""), data = small_spec.find("\"data\"");
  work.write("bare.weir.json", small_spec.substr(0, loss) + small_spec.substr(data));
  const Outcome bare = run({"train", work.path("bare.weir.json"), "--out", work.path("run")});
  CHECK(bare.code == 1);
  CHECK(bare.says("has no \"loss\" section"));
  CHECK(!work.has("run"));
}

TEST_CASE("a run's folder that cannot be made is exit 3") {
  const Workspace work;
  const Outcome refused = run({"train", work.model(), "--out", work.model() + "/run", "--threads", "1"});
  CHECK(refused.code == 3);
  CHECK(refused.says("cannot be made"));
}

TEST_CASE("a watched term is reported with weight 0 and changes no bit of the weights") {
  const Workspace work;
  REQUIRE(train(work).code == 0);
  const std::string plain = work.read("run/last.safetensors");
  REQUIRE(train(work, {"--force", "--set",
                       "loss.terms.extra={\"type\": \"mean_squared_error\", \"at\": \"output\", "
                       "\"target\": {\"constant\": 0}, \"weight\": 0}"})
              .code == 0);
  CHECK(work.read("run/last.safetensors") == plain);
  const json line = work.lines("run/metrics.jsonl").front();
  CHECK(line["weight"]["extra"] == 0);
  CHECK(line["loss"]["extra"].get<double>() > 0);
}
