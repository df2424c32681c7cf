#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/cli/program.hpp"
#include "compiler/cli/text.hpp"
#include "runtime/data/array.hpp"
#include "runtime/formats/npy_writer.hpp"
#include "runtime/formats/safetensors.hpp"

namespace fs = std::filesystem;
using namespace weir;
using json = nlohmann::ordered_json;

namespace {

const std::string spec = R"({
  "format": "weir/1", "name": "small",
  "inputs": {"x": {"shape": [3]}, "label": {"shape": [], "dtype": "i32"}},
  "layers": [
    {"name": "hidden", "type": "dense", "units": 5, "activation": "relu", "from": "x"},
    {"name": "output", "type": "dense", "units": 4, "activation": "softmax"}
  ],
  "loss": {"terms": {
    "tame": {"type": "mean_absolute_error", "at": "hidden", "target": {"constant": 0}, "weight": 0.1},
    "final": {"type": "categorical_crossentropy", "at": "output", "target": {"input": "label", "one_hot": 4}}
  }},
  "train": {"optimizer": {"type": "adam", "learning_rate": 0.01}, "batch_size": 8, "epochs": 2,
            "metrics": {"accuracy": {"type": "categorical_accuracy", "at": "output", "target": {"input": "label", "one_hot": 4}}}},
  "data": {"train": {"x": {"random": 20}, "label": {"random": 20, "classes": 4}},
           "validation": {"x": {"random": 9}, "label": {"random": 9, "classes": 4}}}
})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

struct Outcome {
  int code;
  std::string out, err;
  bool says(const std::string& part) const { return err.find(part) != std::string::npos; }
  bool prints(const std::string& part) const { return out.find(part) != std::string::npos; }
};

/// A folder that goes away, with a specification in it; commands run with absolute paths.
class Place {
 public:
  Place() {
    std::string pattern = (fs::temp_directory_path() / "weir-cli-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()));
    folder_ = pattern;
    write("small.weir.json", spec);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    REQUIRE_MESSAGE(file.good(), name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<json> lines(const std::string& name) const {
    std::istringstream text(read(name));
    std::vector<json> all;
    for (std::string line; std::getline(text, line);) all.push_back(json::parse(line));
    return all;
  }
  bool has(const std::string& name) const { return fs::exists(folder_ / name); }

  std::string model() const { return path("small.weir.json"); }
  std::string plan(std::vector<std::string> flags = {}) const {
    std::vector<std::string> arguments{"compile", model(), "-o", path("small.plan"), "--threads", "1"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    std::ostringstream out, err;
    REQUIRE_MESSAGE(cli::run_program(arguments, {out, err}) == 0, err.str());
    return path("small.plan");
  }

 private:
  fs::path folder_;
};

Outcome run(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  const int code = cli::run_program(arguments, {out, err});
  return {code, out.str(), err.str()};
}

Outcome train(const Place& place, std::vector<std::string> flags = {}) {
  std::vector<std::string> arguments{"train", place.model(), "--out", place.path("run"), "--threads", "1"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return run(arguments);
}

std::map<std::string, Tensor> weights(const Place& place, const std::string& name) {
  std::ifstream file(place.path(name), std::ios::binary);
  REQUIRE(file.good());
  return read_safetensors(file, name);
}

Tensor tensor(const Dims& dims, float first) {
  Tensor result(DType::f32, dims);
  for (std::int64_t i = 0; i < result.count(); ++i) result.data<float>()[i] = first + static_cast<float>(i) * 0.01f;
  return result;
}

Tensor classes(std::vector<std::int32_t> values) {
  Tensor result(DType::i32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), result.data<std::int32_t>());
  return result;
}

}  // namespace

// ---- Usage

TEST_CASE("a mistyped command, flag or file is told in that order, with what was meant, and is exit 2") {
  const Place place;
  CHECK(run({"trian", "x.json"}).code == 2);
  CHECK(run({"trian", "x.json"}).says("did you mean train?"));
  const Outcome flag = run({"train", "--epoch", "3", place.model()});
  CHECK(flag.code == 2);
  CHECK(flag.says("no flag --epoch, did you mean --epochs?"));
  CHECK(run({"train", "--epochs", "x", place.model()}).says("--epochs x: expected a whole number, 1 or more"));
  CHECK(run({"train", "--epochs", "0", place.model()}).code == 2);
  CHECK(run({"train", "--epochs", "99999999999999999999", place.model()}).code == 2);
  CHECK(run({"train"}).says("weir train needs SPEC|PLAN"));
  CHECK(run({"compile", place.model()}).says("needs --output"));
  CHECK(run({"check", place.model(), "extra"}).says("unexpected argument extra"));
  CHECK(run({}).code == 2);
  CHECK(run({"weights"}).code == 2);
  CHECK(run({"weights", "lst", "f"}).says("did you mean list?"));
  CHECK(run({"show", place.model(), "--as", "pdf"}).says("--as pdf: expected one of table, json"));
  CHECK(run({"train", place.model(), "--set", "nothing"}).says("expected path=value"));
}

TEST_CASE("what is not built yet is refused, not ignored") {
  const Place place;
  for (const char* word : {"verify", "format", "init", "completion"}) {
    CHECK(run({word, place.model()}).code == 2);
    CHECK(run({word, place.model()}).says("is not supported yet"));
  }
  CHECK(run({"train", place.model(), "--resume", "run"}).says("--resume is not supported yet"));
  CHECK(run({"train", place.model(), "--save-every=5"}).says("--save-every is not supported yet"));
}

TEST_CASE("help and version go to standard output and are no errors") {
  CHECK(run({"--help"}).code == 0);
  CHECK(run({"train", "--help"}).prints("--log-every"));
  CHECK(run({"--version"}).prints("weir "));
}

TEST_CASE("a file that is missing or a folder is exit 3 and named") {
  const Place place;
  const Outcome missing = run({"check", place.path("none.json")});
  CHECK(missing.code == 3);
  CHECK(missing.says("none.json"));
  CHECK(run({"check", place.path("")}).says("is a folder"));
}

// ---- check, explain, show, schema, doctor

TEST_CASE("check finds everything at once with places, writes nothing and is exit 1") {
  const Place place;
  place.write("wrong.weir.json",
              replaced(replaced(spec, "\"units\": 5", "\"unitz\": 5"), "\"at\": \"hidden\"", "\"at\": \"hiden\""));
  const Outcome wrong = run({"check", place.path("wrong.weir.json")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("wrong.weir.json:5:"));
  CHECK(wrong.says("units"));
  CHECK(wrong.says("did you mean \"hidden\"?"));
  CHECK(wrong.out.empty());
  const Outcome document = run({"check", place.path("wrong.weir.json"), "--json"});
  CHECK(document.code == 1);
  const json parsed = json::parse(document.out);
  CHECK(parsed["ok"] == false);
  CHECK(parsed["diagnostics"].size() >= 2);
  CHECK(parsed["diagnostics"][0].contains("code"));
  CHECK(run({"check", place.model()}).prints("no errors, 0 warnings"));
}

TEST_CASE("a shape error is told under the file's name") {
  const Place place;
  place.write("wrong.weir.json", replaced(spec, "\"one_hot\": 4", "\"one_hot\": 3"));
  const Outcome wrong = run({"check", place.path("wrong.weir.json")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("wrong.weir.json:"));
}

TEST_CASE("a newer format is exit 5") {
  const Place place;
  place.write("new.weir.json", replaced(spec, "weir/1", "weir/2"));
  CHECK(run({"check", place.path("new.weir.json")}).code == 5);
}

TEST_CASE("explain tells which term trains what, and what a code means") {
  const Place place;
  const Outcome text = run({"explain", place.model(), "--exclude", "output"});
  CHECK(text.code == 0);
  CHECK(text.prints("excluded by \"output\""));
  CHECK(text.prints("output.kernel, output.bias are trained by no loss"));
  CHECK(json::parse(run({"explain", place.model(), "--json"}).out)["terms"].size() == 2);
  CHECK(run({"explain", "W0402"}).code == 0);
  CHECK(run({"explain", "E9999"}).code == 2);
}

TEST_CASE("show prints a table, JSON, drawings and the stage after a pass") {
  const Place place;
  const Outcome table = run({"show", place.model(), "--threads", "1"});
  CHECK(table.code == 0);
  CHECK(table.prints("trained by"));
  CHECK(table.prints("tame, final"));
  CHECK(table.prints("at least"));
  const json summary = json::parse(run({"show", place.model(), "--json"}).out);
  CHECK(summary["layers"][0]["parameters"] == 20);
  CHECK(summary["layers"][1]["output"] == std::vector<int>{4});
  CHECK(summary["programs"].size() == 3);
  CHECK(run({"show", place.model(), "--as", "dot"}).prints("\"hidden\" -> \"output\""));
  const Outcome svg = run({"show", place.model(), "--as", "svg", "--exclude", "final"});
  CHECK(svg.out.starts_with("<svg"));
  CHECK(svg.prints("excluded"));
  CHECK(run({"show", place.model(), "--dump-after", "differentiate"}).prints("# after differentiate, train 8"));
  const Outcome typo = run({"show", place.model(), "--dump-after", "diferentiate"});
  CHECK(typo.code == 2);
  CHECK(typo.says("did you mean \"differentiate\"?"));
  CHECK(run({"show", place.plan()}).prints("trained by"));
}

TEST_CASE("schema and doctor print one document each") {
  CHECK(json::parse(run({"schema"}).out).is_object());
  const json doctor = json::parse(run({"doctor", "--json"}).out);
  CHECK(doctor["threads"] >= 1);
  CHECK(doctor["library"].get<std::string>().find("oneDNN") == 0);
}

// ---- train

TEST_CASE("training leaves lines, weights and the effective specification in the run's folder") {
  const Place place;
  const Outcome done = train(place, {"--epochs", "3", "--set", "train.optimizer.learning_rate=0.02"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(done.prints("contribution"));
  CHECK(done.prints("kept in " + place.path("run")));
  CHECK(done.says("arena"));
  const json effective = json::parse(place.read("run/model.weir.json"));
  CHECK(effective["train"]["epochs"] == 3);
  CHECK(effective["train"]["optimizer"]["learning_rate"] == 0.02);
  CHECK(weights(place, "run/last.safetensors").size() == 4);
  const auto lines = place.lines("run/metrics.jsonl");
  CHECK(lines.size() == 3 * (3 + 1));  // 20 samples in batches of 8: three steps an epoch
  CHECK(lines.front()["step"] == 1);
  CHECK(lines.front()["learning_rate"] == 0.02);
  CHECK(lines.back()["event"] == "epoch");
  CHECK(lines.back()["epoch"] == 3);
}

TEST_CASE("lines have exactly the keys of the specification") {
  const Place place;
  REQUIRE(train(place).code == 0);
  const auto keys = [](const json& object) {
    std::vector<std::string> names;
    for (const auto& item : object.items()) names.push_back(item.key());
    return names;
  };
  using Names = std::vector<std::string>;
  for (const json& line : place.lines("run/metrics.jsonl")) {
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
  const Place place;
  REQUIRE(train(place).code == 0);
  for (const json& line : place.lines("run/metrics.jsonl")) {
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
  const Place place;
  const Outcome done = train(place, {"--json", "--log-every", "2"});
  REQUIRE(done.code == 0);
  CHECK(done.out == place.read("run/metrics.jsonl"));
  std::vector<int> steps;
  for (const json& line : place.lines("run/metrics.jsonl"))
    if (line["event"] == "step") steps.push_back(line["step"]);
  CHECK(steps == std::vector<int>{1, 2, 4, 6});
}

TEST_CASE("without a terminal there is one plain line for the first step and one for each epoch") {
  const Place place;
  const Outcome done = train(place);
  CHECK(done.says("step 1: total"));
  CHECK(done.says("epoch 1/2"));
  CHECK(done.says("epoch 2/2"));
  CHECK(done.err.find('\r') == std::string::npos);
  CHECK(done.err.find('\x1b') == std::string::npos);
}

TEST_CASE("on a terminal one line is drawn over and taken away at the end") {
  const Place place;
  std::ostringstream out, err;
  const cli::Console console{out, err, false, true, 40};
  REQUIRE(cli::run_program({"train", place.model(), "--out", place.path("run"), "--threads", "1"}, console) == 0);
  CHECK(err.str().find("\r\x1b[2Kepoch 1/2") != std::string::npos);
  CHECK(out.str().find('\x1b') == std::string::npos);
  CHECK(err.str().rfind("\r\x1b[2K") < err.str().rfind("epoch 2/2"));
}

TEST_CASE("an existing run is exit 2 unless it is forced") {
  const Place place;
  REQUIRE(train(place).code == 0);
  const std::string before = place.read("run/metrics.jsonl");
  const Outcome again = train(place, {"--epochs", "1"});
  CHECK(again.code == 2);
  CHECK(again.says("--force"));
  CHECK(place.read("run/metrics.jsonl") == before);
  CHECK(train(place, {"--epochs", "1", "--force"}).code == 0);
  CHECK(place.lines("run/metrics.jsonl").size() == 4);
  CHECK(run({"train", place.model(), "--out", place.model(), "--force"}).says("is a file"));
}

TEST_CASE("the first of --steps and --epochs ends training, and two runs give the same bits") {
  const Place place;
  REQUIRE(train(place, {"--steps", "4"}).code == 0);
  CHECK(place.lines("run/metrics.jsonl").size() == 4 + 2);
  const std::string first = place.read("run/last.safetensors");
  REQUIRE(train(place, {"--steps", "4", "--force"}).code == 0);
  CHECK(place.read("run/last.safetensors") == first);
  REQUIRE(train(place, {"--steps", "4", "--force", "--seed", "7"}).code == 0);
  CHECK(place.read("run/last.safetensors") != first);
  REQUIRE(train(place, {"--steps", "4", "--force", "--no-shuffle"}).code == 0);
  CHECK(place.read("run/last.safetensors") != first);
}

TEST_CASE("excluding the final loss warns once, needs no labels and leaves its parameters alone") {
  const Place place;
  place.write("blind.weir.json",
              replaced(spec, "\"label\": {\"random\": 20, \"classes\": 4}", "\"label\": \"not-there.npy\""));
  const auto command = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{
        "train", place.path("blind.weir.json"), "--out", place.path("blind"), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  CHECK(command({}).code == 3);  // the label file is needed, and missing
  CHECK(!place.has("blind"));
  place.write("blind.weir.json",
              replaced(place.read("blind.weir.json"),
                       "\"metrics\": {\"accuracy\": {\"type\": \"categorical_accuracy\", \"at\": \"output\", "
                       "\"target\": {\"input\": \"label\", \"one_hot\": 4}}}",
                       "\"metrics\": {}"));
  const Outcome done = command({"--exclude", "output"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  const std::string warning = "output.kernel, output.bias are trained by no loss";
  CHECK(done.says(warning));
  CHECK(done.err.find(warning) == done.err.rfind(warning));
  CHECK(done.prints("excluded"));
  REQUIRE(run({"weights", "init", place.path("blind.weir.json"), "-o", place.path("init.safetensors")}).code == 0);
  const auto before = weights(place, "init.safetensors"), after = weights(place, "blind/last.safetensors");
  CHECK(before.at("output.kernel").bytes == after.at("output.kernel").bytes);
  CHECK(before.at("hidden.kernel").bytes != after.at("hidden.kernel").bytes);
}

TEST_CASE("training that diverges is exit 4 and keeps the last good parameters") {
  const Place place;
  std::string steep = replaced(spec, "\"weight\": 0.1", "\"weight\": 1e25");
  steep = replaced(steep, "\"mean_absolute_error\", \"at\": \"hidden\"",
                   "\"mean_squared_error\", \"at\": \"output:linear\"");
  steep = replaced(steep, "\"adam\"", "\"sgd\"");
  place.write("steep.weir.json", replaced(steep, "\"epochs\": 2", "\"epochs\": 50"));
  const Outcome diverged = run({"train", place.path("steep.weir.json"), "--out", place.path("run"), "--threads", "1"});
  CHECK(diverged.code == 4);
  CHECK(diverged.says("training diverged"));
  CHECK(diverged.says("last.safetensors"));
  for (const auto& [name, values] : weights(place, "run/last.safetensors"))
    for (std::int64_t i = 0; i < values.count(); ++i) CHECK(std::isfinite(values.data<float>()[i]));
}

TEST_CASE("SIGINT ends training after a step, keeps it and is exit 130; SIGTERM 143") {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Place place;
    std::fflush(nullptr);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int stream : {STDOUT_FILENO, STDERR_FILENO}) dup2(open("/dev/null", O_WRONLY), stream);
      execl(WEIR_PROGRAM, "weir", "train", place.model().c_str(), "--out", place.path("run").c_str(), "--threads", "1",
            "--epochs", "100000000", "--log-every", "1000000", static_cast<char*>(nullptr));
      _exit(99);
    }
    for (int i = 0; i < 600 && !(place.has("run/metrics.jsonl") && fs::file_size(place.path("run/metrics.jsonl")) > 0);
         ++i)
      usleep(50'000);
    REQUIRE(kill(child, signal) == 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 128 + signal);
    CHECK(weights(place, "run/last.safetensors").size() == 4);
  }
}

// ---- Data and weights

TEST_CASE("a label outside the classes stops the run before training and names sample and file") {
  const Place place;
  write_npy(place.path("x.npy"), tensor({10, 3}, 0));
  write_npy(place.path("label.npy"), classes({0, 1, 2, 3, 0, 1, 2, 4, 0, 1}));
  const Outcome wrong =
      train(place, {"--input", "x=" + place.path("x.npy"), "--input", "label=" + place.path("label.npy")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("sample 7"));
  CHECK(wrong.says("label.npy"));
  CHECK(wrong.says("class 4"));
  CHECK(!place.has("run"));
}

TEST_CASE("--input binds one input, and a wrong name, shape or count is told") {
  const Place place;
  write_npy(place.path("x.npy"), tensor({20, 3}, 0));
  CHECK(train(place, {"--input", "x=" + place.path("x.npy")}).code == 0);
  const Outcome name = train(place, {"--force", "--input", "lable=" + place.path("x.npy")});
  CHECK(name.code == 2);
  CHECK(name.says("did you mean \"label\"?"));
  write_npy(place.path("narrow.npy"), tensor({20, 2}, 0));
  const Outcome shape = train(place, {"--force", "--input", "x=" + place.path("narrow.npy")});
  CHECK(shape.code == 1);
  CHECK(shape.says("input \"x\""));
  write_npy(place.path("few.npy"), tensor({19, 3}, 0));
  CHECK(train(place, {"--force", "--input", "x=" + place.path("few.npy")}).says("the counts must agree"));
  CHECK(train(place, {"--force", "--input", "x=" + place.path("none.npy")}).code == 3);
  place.write("noise.npy", "this is no array");
  CHECK(train(place, {"--force", "--input", "x=" + place.path("noise.npy")}).code == 1);
}

TEST_CASE("validation_split validates on the last part in file order") {
  const Place place;
  const std::size_t at = spec.find("\"validation\": {\"x\": {\"random\": 9}");
  place.write("small.weir.json", spec.substr(0, at) + "\"validation_split\": 0.25}}");
  const Outcome done = train(place, {"--json"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(place.lines("run/metrics.jsonl").size() == 2 * (2 + 1));  // 15 samples: two steps
  const json evaluated =
      json::parse(run({"evaluate", place.model(), "--weights", place.path("run/last.safetensors"), "--json"}).out);
  CHECK(evaluated["samples"] == 5);
  CHECK(evaluated["loss"] == place.lines("run/metrics.jsonl").back()["validation"]["loss"]);
}

TEST_CASE("a set that is absent is an error that says how to give one") {
  const Place place;
  const Outcome absent = run({"evaluate", place.model(), "--on", "test"});
  CHECK(absent.code == 1);
  CHECK(absent.says("there is no set \"test\""));
  CHECK(run({"evaluate", place.model(), "--on", "tset"}).code == 2);
}

TEST_CASE("weights are given exactly once and fit, or every misfit is listed") {
  const Place place;
  REQUIRE(run({"weights", "init", place.model(), "-o", place.path("a.safetensors"), "--seed", "3"}).code == 0);
  REQUIRE(run({"weights", "init", place.model(), "-o", place.path("b.safetensors"), "--seed", "4"}).code == 0);
  CHECK(train(place, {"--weights", place.path("a.safetensors")}).code == 0);
  const Outcome twice =
      train(place, {"--force", "--weights", place.path("a.safetensors"), "--weights", place.path("b.safetensors")});
  CHECK(twice.code == 1);
  CHECK(twice.says("a.safetensors"));
  CHECK(twice.says("b.safetensors"));
  write_safetensors(place.path("part.safetensors"), {{"hidden.kernel", TensorView(tensor({3, 5}, 1))}});
  CHECK(train(place, {"--force", "--weights", place.path("part.safetensors")}).says("output.bias is missing"));
  const Outcome partial = train(place, {"--force", "--partial", "--weights", place.path("part.safetensors")});
  CHECK(partial.code == 0);
  CHECK(partial.says("hidden.bias, output.kernel, output.bias"));
  write_safetensors(place.path("odd.safetensors"),
                    {{"hidden.kernel", TensorView(tensor({5, 3}, 1))}, {"odd", TensorView(tensor({2}, 1))}});
  const Outcome odd = train(place, {"--force", "--partial", "--weights", place.path("odd.safetensors")});
  CHECK(odd.code == 1);
  CHECK(odd.says("odd is no parameter"));
  CHECK(odd.says("hidden.kernel is f32[5, 3]"));
  CHECK(run({"weights", "list", place.path("a.safetensors")}).prints("4 parameters, 44 numbers"));
  CHECK(run({"weights", "diff", place.path("a.safetensors"), place.path("a.safetensors")}).prints("identical"));
  CHECK(json::parse(run({"weights", "diff", place.path("a.safetensors"), place.path("b.safetensors"), "--json"})
                        .out)["identical"] == false);
}

TEST_CASE("predict writes one node as .npy and several as .npz") {
  const Place place;
  const Outcome one = run({"predict", place.model(), "-o", place.path("p.npy"), "--on", "train"});
  REQUIRE_MESSAGE(one.code == 0, one.err);
  std::ifstream file(place.path("p.npy"), std::ios::binary);
  const SourceArray array = read_array(file, "p.npy");
  CHECK(array.dims == Dims{20, 4});
  for (int row = 0; row < 20; ++row) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += array.data<float>()[row * 4 + i];
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  }
  REQUIRE(run({"predict", place.model(), "-o", place.path("p.npz"), "--at", "hidden", "--at", "output"}).code == 0);
  std::ifstream archive(place.path("p.npz"), std::ios::binary);
  CHECK(read_array(archive, "p.npz", {"hidden", {}}).dims == Dims{9, 5});
  CHECK(run({"predict", place.model(), "-o", place.path("p.npy"), "--at", "hidden,output"})
            .says("do not fit in one .npy"));
  CHECK(run({"predict", place.model(), "-o", place.path("p.csv")}).code == 2);
  CHECK(run({"predict", place.model(), "-o", place.path("p.npy"), "--at", "nowhere"}).code == 1);
}

TEST_CASE("gradient writes the gradients of a step, and terms add up to the whole") {
  const Place place;
  REQUIRE(run({"weights", "init", place.model(), "-o", place.path("w.safetensors")}).code == 0);
  const auto gradient = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> arguments{"gradient", place.model(),    "--weights", place.path("w.safetensors"),
                                       "-o",       place.path(name), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome done = run(arguments);
    REQUIRE_MESSAGE(done.code == 0, done.err);
    return weights(place, name);
  };
  for (const char* batch : {"1", "3", "5"}) {  // 3: the short one
    const auto whole = gradient("g", {"--batch", batch}), tame = gradient("t", {"--batch", batch, "--term", "tame"});
    const auto final_term = gradient("f", {"--batch", batch, "--term", "final"});
    CHECK(whole.size() == 4);
    CHECK(tame.size() == 2);
    const Tensor &sum = whole.at("hidden.kernel"), &a = tame.at("hidden.kernel"), &b = final_term.at("hidden.kernel");
    for (std::int64_t i = 0; i < sum.count(); ++i)
      CHECK(sum.data<float>()[i] == doctest::Approx(0.1 * a.data<float>()[i] + b.data<float>()[i]).epsilon(1e-4));
  }
  CHECK(run({"gradient", place.model(), "-o", place.path("g"), "--term", "tme"}).says("did you mean \"tame\"?"));
}

// ---- Plans

TEST_CASE("a plan trains to the same bits as its specification, with the sizes that it was compiled for") {
  const Place place;
  REQUIRE(train(place).code == 0);
  const std::string expected = place.read("run/last.safetensors");
  const std::string plan = place.plan({"--batch-size", "8,4"});
  const auto from_plan = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"train", plan, "--out", place.path("run"), "--force"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  const Outcome done = from_plan({});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(place.read("run/last.safetensors") == expected);
  CHECK(from_plan({"--exclude", "output"}).code == 2);
  CHECK(from_plan({"--set", "train.epochs=3"}).code == 2);
  CHECK(from_plan({"--batch-size", "16"}).code == 2);
  CHECK(from_plan({"--threads", "2"}).code == 2);
  CHECK(from_plan({"--epochs", "1"}).code == 0);
  const std::string full_only = place.plan();
  const Outcome short_batch = run({"train", full_only, "--out", place.path("run"), "--force"});
  CHECK(short_batch.code == 2);
  CHECK(short_batch.says("--batch-size 8,4"));
}

TEST_CASE("a plan evaluates and predicts, and reads only where it has taps") {
  const Place place;
  const std::string plan = place.plan({"--tap", "hidden"});
  CHECK(json::parse(run({"evaluate", plan, "--json"}).out)["samples"] == 9);
  CHECK(run({"predict", plan, "-o", place.path("p.npy"), "--at", "hidden"}).code == 0);
  const Outcome without = run({"predict", plan, "-o", place.path("p.npy"), "--at", "hidden:linear"});
  CHECK(without.code == 2);
  CHECK(without.says("no tap"));
}

TEST_CASE("a plan that was damaged or made elsewhere is refused") {
  const Place place;
  const std::string plan = place.plan();
  const std::string text = place.read("small.plan");
  place.write("small.plan", text.substr(0, text.size() / 2));
  CHECK(run({"check", plan}).code == 1);
  json foreign = json::parse(text);
  foreign["fingerprint"]["instructions"] = "another_machine";
  place.write("small.plan", foreign.dump());
  CHECK(run({"evaluate", plan}).code == 5);
}

// ---- Numbers

TEST_CASE("numbers for machines are the shortest that read back as the same f32") {
  CHECK(cli::json_number(0.1).dump() == "0.1");
  CHECK(cli::json_number(static_cast<double>(0.7f)).dump() == "0.7");
  CHECK(cli::json_number(1).dump() == "1");
  CHECK(cli::json_number(1e66).dump() == "1e+66");  // a sum in double that f32 cannot hold is still a number
  CHECK(cli::json_number(NAN).dump() == "null");
  CHECK(cli::json_number(INFINITY).dump() == "null");
  for (float value : {1e-42f, 3.4028235e38f, 1.0f / 3, 16777217.0f, -0.0f}) {
    const float back = json::parse(cli::json_number(static_cast<double>(value)).dump()).get<float>();
    CHECK(std::memcmp(&back, &value, sizeof value) == 0);
  }
}
