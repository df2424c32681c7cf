#include <cmath>
#include <cstring>

#include "compiler/cli/text.hpp"
#include "runtime/data/array.hpp"
#include "tests/command_line.hpp"

using namespace weir;
using namespace weir::command_line;

// ---- Usage

TEST_CASE("a mistyped command, flag or file is told in that order, with what was meant, and is exit 2") {
  const Workspace work;
  CHECK(run({"trian", "x.json"}).code == 2);
  CHECK(run({"trian", "x.json"}).says("did you mean train?"));
  const Outcome flag = run({"train", "--epoch", "3", work.model()});
  CHECK(flag.code == 2);
  CHECK(flag.says("no flag --epoch, did you mean --epochs?"));
  CHECK(run({"train", "--epochs", "x", work.model()}).says("--epochs x: expected a whole number, 1 or more"));
  CHECK(run({"train", "--epochs", "0", work.model()}).code == 2);
  CHECK(run({"train", "--epochs", "99999999999999999999", work.model()}).code == 2);
  CHECK(run({"train"}).says("weir train needs SPEC|PLAN"));
  CHECK(run({"compile", work.model()}).says("needs --output"));
  CHECK(run({"check", work.model(), "extra"}).says("unexpected argument extra"));
  CHECK(run({}).code == 2);
  CHECK(run({"weights"}).code == 2);
  CHECK(run({"weights", "lst", "f"}).says("no command weir weights lst, did you mean list?"));
  CHECK(run({"show", work.model(), "--as", "pdf"}).says("--as pdf: expected one of table, json"));
  CHECK(run({"train", work.model(), "--set", "nothing"}).says("expected path=value"));
}

TEST_CASE("what is not built yet is refused, not ignored") {
  const Workspace work;
  for (const char* word : {"format", "init", "completion"}) {
    CHECK(run({word, work.model()}).code == 2);
    CHECK(run({word, work.model()}).says("is not supported yet"));
  }
  CHECK(run({"train", work.model(), "--resume", "run"}).says("--resume is not supported yet"));
  CHECK(run({"train", work.model(), "--save-every=5"}).says("--save-every is not supported yet"));
}

TEST_CASE("help and version go to standard output and are no errors") {
  CHECK(run({"--help"}).code == 0);
  CHECK(run({"train", "--help"}).prints("weir train"));
  CHECK(run({"train", "--help"}).prints("--log-every N"));
  CHECK(run({"weights", "init", "--help"}).prints("weir weights init"));
  CHECK(run({"--version"}).prints("weir "));
}

TEST_CASE("a file that is missing or a folder is exit 3 and named") {
  const Workspace work;
  const Outcome missing = run({"check", work.path("none.json")});
  CHECK(missing.code == 3);
  CHECK(missing.says("none.json"));
  CHECK(run({"check", work.path("")}).says("is a folder"));
}

// ---- check, explain, show, schema, doctor

TEST_CASE("check finds everything at once with places, writes nothing and is exit 1") {
  const Workspace work;
  work.write("wrong.weir.json",
             replaced(replaced(small_spec, "\"units\": 5", "\"unitz\": 5"), "\"at\": \"hidden\"", "\"at\": \"hiden\""));
  const Outcome wrong = run({"check", work.path("wrong.weir.json")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("wrong.weir.json:5:"));
  CHECK(wrong.says("units"));
  CHECK(wrong.says("did you mean \"hidden\"?"));
  CHECK(wrong.out.empty());
  const Outcome document = run({"check", work.path("wrong.weir.json"), "--json"});
  CHECK(document.code == 1);
  const json parsed = json::parse(document.out);
  CHECK(parsed["ok"] == false);
  CHECK(parsed["diagnostics"].size() >= 2);
  CHECK(parsed["diagnostics"][0].contains("code"));
  CHECK(run({"check", work.model()}).prints("no errors, 0 warnings"));
}

TEST_CASE("a shape error is told under the file's name") {
  const Workspace work;
  work.write("wrong.weir.json", replaced(small_spec, "\"one_hot\": 4", "\"one_hot\": 3"));
  const Outcome wrong = run({"check", work.path("wrong.weir.json")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("wrong.weir.json:"));
}

TEST_CASE("a newer format is exit 5") {
  const Workspace work;
  work.write("new.weir.json", replaced(small_spec, "weir/1", "weir/2"));
  CHECK(run({"check", work.path("new.weir.json")}).code == 5);
}

TEST_CASE("explain without a term says what is saved and which parameters stop training") {
  const Workspace work;
  const Outcome result = run({"explain", work.model(), "--without", "final", "--threads", "1", "--json"});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const json all = json::parse(result.out);
  CHECK(all["without"]["stop_training"] == std::vector<std::string>{"output.kernel", "output.bias"});
  CHECK(all["without"]["flops"]["with"] > all["without"]["flops"]["without"]);
  CHECK(all["costs"]["final"]["bytes"] > 0);
  CHECK(all["costs"]["final"]["flops"] > all["costs"]["tame"]["flops"]);
  CHECK(run({"explain", work.model(), "--without", "final"}).prints("parameters that stop training: output.kernel"));
}

TEST_CASE("explain is narrowed by term, layer and node, and an unknown name is exit 2 with what was meant") {
  const Workspace work;
  CHECK(!run({"explain", work.model(), "--term", "final"}).prints("tame: mean"));
  CHECK(!run({"explain", work.model(), "--layer", "output"}).prints("\nhidden.kernel"));
  const json node = json::parse(run({"explain", work.model(), "--node", "hidden", "--json"}).out)["node"];
  CHECK(node["read_by"] == std::vector<std::string>{"tame"});
  CHECK(node["hears"] == std::vector<std::string>{"tame", "final"});
  for (const char* flag : {"--term", "--without"}) {
    const Outcome wrong = run({"explain", work.model(), flag, "finale"});
    CHECK(wrong.code == 2);
    CHECK(wrong.says("did you mean \"final\"?"));
  }
  CHECK(run({"explain", work.model(), "--node", "hiden"}).says("did you mean \"hidden\"?"));
}

TEST_CASE("explain tells which term trains what, and what a code means") {
  const Workspace work;
  const Outcome text = run({"explain", work.model(), "--exclude", "output"});
  CHECK(text.code == 0);
  CHECK(text.prints("excluded by \"output\""));
  CHECK(text.prints("output.kernel, output.bias are trained by no loss"));
  CHECK(json::parse(run({"explain", work.model(), "--json"}).out)["terms"].size() == 2);
  CHECK(run({"explain", "W0402"}).code == 0);
  CHECK(run({"explain", "E9999"}).code == 2);
}

TEST_CASE("show prints a table, JSON, drawings and the stage after a pass") {
  const Workspace work;
  const Outcome table = run({"show", work.model(), "--threads", "1"});
  CHECK(table.code == 0);
  CHECK(table.prints("trained by"));
  CHECK(table.prints("tame, final"));
  CHECK(table.prints("at least"));
  const json summary = json::parse(run({"show", work.model(), "--json"}).out);
  CHECK(summary["layers"][0]["parameters"] == 20);
  CHECK(summary["layers"][1]["output"] == std::vector<int>{4});
  CHECK(summary["programs"].size() == 3);
  double flops = 0, bytes = 0;
  for (const json& layer : summary["layers"]) {
    CHECK(layer["flops"] > 2 * 8 * 3 * 5);  // forward alone, of the smaller one
    flops += layer["flops"].get<double>();
    bytes += layer["bytes"].get<double>();
  }
  const json& step = summary["programs"][0];  // of training; its losses and metrics are of no layer
  CHECK(flops < step["flops"].get<double>());
  CHECK(flops > 0.8 * step["flops"].get<double>());
  CHECK(bytes < step["bytes"].get<double>());
  CHECK(summary["programs"][2]["flops"] < step["flops"]);
  CHECK(table.prints("bytes moved"));
  CHECK(run({"show", work.model(), "--as", "dot"}).prints("\"hidden\" -> \"output\""));
  const std::string encoder = std::string(WEIR_SOURCE_DIR) + "/models/transformer_encoder.weir.json";
  CHECK(run({"show", encoder, "--as", "dot"}).prints("\"attend_2\" -> \"attended_2\""));  // with a role left out
  const Outcome svg = run({"show", work.model(), "--as", "svg", "--exclude", "final"});
  CHECK(svg.out.starts_with("<svg"));
  CHECK(svg.prints("excluded"));
  CHECK(run({"show", work.model(), "--dump-after", "differentiate"}).prints("# after differentiate, train 8"));
  const Outcome typo = run({"show", work.model(), "--dump-after", "diferentiate"});
  CHECK(typo.code == 2);
  CHECK(typo.says("did you mean \"differentiate\"?"));
  CHECK(run({"show", work.plan()}).prints("trained by"));
}

TEST_CASE("schema and doctor print one document each") {
  CHECK(json::parse(run({"schema"}).out).is_object());
  const json doctor = json::parse(run({"doctor", "--json"}).out);
  CHECK(doctor["threads"] >= 1);
  CHECK(doctor["library"].get<std::string>().find("oneDNN") == 0);
}

// ---- Data and weights

TEST_CASE("a label outside the classes stops the run before training and names sample and file") {
  const Workspace work;
  write_npy(work.path("x.npy"), tensor({10, 3}, 0));
  write_npy(work.path("label.npy"), classes({0, 1, 2, 3, 0, 1, 2, 4, 0, 1}));
  const Outcome wrong =
      train(work, {"--input", "x=" + work.path("x.npy"), "--input", "label=" + work.path("label.npy")});
  CHECK(wrong.code == 1);
  CHECK(wrong.says("sample 7"));
  CHECK(wrong.says("label.npy"));
  CHECK(wrong.says("class 4"));
  CHECK(!work.has("run"));
}

TEST_CASE("--input binds one input, and a wrong name, shape or count is told") {
  const Workspace work;
  write_npy(work.path("x.npy"), tensor({20, 3}, 0));
  CHECK(train(work, {"--input", "x=" + work.path("x.npy")}).code == 0);
  const Outcome name = train(work, {"--force", "--input", "lable=" + work.path("x.npy")});
  CHECK(name.code == 2);
  CHECK(name.says("did you mean \"label\"?"));
  write_npy(work.path("narrow.npy"), tensor({20, 2}, 0));
  const Outcome shape = train(work, {"--force", "--input", "x=" + work.path("narrow.npy")});
  CHECK(shape.code == 1);
  CHECK(shape.says("input \"x\""));
  write_npy(work.path("few.npy"), tensor({19, 3}, 0));
  CHECK(train(work, {"--force", "--input", "x=" + work.path("few.npy")}).says("the counts must agree"));
  CHECK(train(work, {"--force", "--input", "x=" + work.path("none.npy")}).code == 3);
  work.write("noise.npy", "this is no array");
  CHECK(train(work, {"--force", "--input", "x=" + work.path("noise.npy")}).code == 1);
}

TEST_CASE("validation_split validates on the last part in file order") {
  const Workspace work;
  const std::size_t at = small_spec.find("\"validation\": {\"x\": {\"random\": 9}");
  work.write("small.weir.json", small_spec.substr(0, at) + "\"validation_split\": 0.25}}");
  const Outcome done = train(work, {"--json"});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(work.lines("run/metrics.jsonl").size() == 2 * (2 + 1));  // 15 samples: two steps
  const json evaluated =
      json::parse(run({"evaluate", work.model(), "--weights", work.path("run/last.safetensors"), "--json"}).out);
  CHECK(evaluated["samples"] == 5);
  CHECK(evaluated["loss"] == work.lines("run/metrics.jsonl").back()["validation"]["loss"]);
}

TEST_CASE("a set that is absent is an error that says how to give one") {
  const Workspace work;
  const Outcome absent = run({"evaluate", work.model(), "--on", "test"});
  CHECK(absent.code == 1);
  CHECK(absent.says("there is no set \"test\""));
  CHECK(run({"evaluate", work.model(), "--on", "tset"}).code == 2);
}

TEST_CASE("weights are given exactly once and fit, or every misfit is listed") {
  const Workspace work;
  REQUIRE(run({"weights", "init", work.model(), "-o", work.path("a.safetensors"), "--seed", "3"}).code == 0);
  REQUIRE(run({"weights", "init", work.model(), "-o", work.path("b.safetensors"), "--seed", "4"}).code == 0);
  CHECK(train(work, {"--weights", work.path("a.safetensors")}).code == 0);
  const Outcome twice =
      train(work, {"--force", "--weights", work.path("a.safetensors"), "--weights", work.path("b.safetensors")});
  CHECK(twice.code == 1);
  CHECK(twice.says("a.safetensors"));
  CHECK(twice.says("b.safetensors"));
  write_safetensors(work.path("part.safetensors"), {{"hidden.kernel", TensorView(tensor({3, 5}, 1))}});
  CHECK(train(work, {"--force", "--weights", work.path("part.safetensors")}).says("output.bias is missing"));
  const Outcome partial = train(work, {"--force", "--partial", "--weights", work.path("part.safetensors")});
  CHECK(partial.code == 0);
  CHECK(partial.says("hidden.bias, output.kernel, output.bias"));
  write_safetensors(work.path("odd.safetensors"),
                    {{"hidden.kernel", TensorView(tensor({5, 3}, 1))}, {"odd", TensorView(tensor({2}, 1))}});
  const Outcome odd = train(work, {"--force", "--partial", "--weights", work.path("odd.safetensors")});
  CHECK(odd.code == 1);
  CHECK(odd.says("odd is no parameter"));
  CHECK(odd.says("hidden.kernel is f32[5, 3]"));
  CHECK(run({"weights", "list", work.path("a.safetensors")}).prints("4 parameters, 44 numbers"));
  CHECK(run({"weights", "diff", work.path("a.safetensors"), work.path("a.safetensors")}).prints("identical"));
  CHECK(json::parse(run({"weights", "diff", work.path("a.safetensors"), work.path("b.safetensors"), "--json"})
                        .out)["identical"] == false);
}

TEST_CASE("predict writes one node as .npy and several as .npz") {
  const Workspace work;
  const Outcome one = run({"predict", work.model(), "-o", work.path("p.npy"), "--on", "train"});
  REQUIRE_MESSAGE(one.code == 0, one.err);
  std::ifstream file(work.path("p.npy"), std::ios::binary);
  const SourceArray array = read_array(file, "p.npy");
  CHECK(array.dims == Dims{20, 4});
  for (int row = 0; row < 20; ++row) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += array.data<float>()[row * 4 + i];
    CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  }
  REQUIRE(run({"predict", work.model(), "-o", work.path("p.npz"), "--at", "hidden", "--at", "output"}).code == 0);
  std::ifstream archive(work.path("p.npz"), std::ios::binary);
  CHECK(read_array(archive, "p.npz", {"hidden", {}}).dims == Dims{9, 5});
  CHECK(
      run({"predict", work.model(), "-o", work.path("p.npy"), "--at", "hidden,output"}).says("do not fit in one .npy"));
  CHECK(run({"predict", work.model(), "-o", work.path("p.csv")}).code == 2);
  CHECK(run({"predict", work.model(), "-o", work.path("p.npy"), "--at", "nowhere"}).code == 1);
}

TEST_CASE("gradient writes the gradients of a step, and terms add up to the whole") {
  const Workspace work;
  REQUIRE(run({"weights", "init", work.model(), "-o", work.path("w.safetensors")}).code == 0);
  const auto gradient = [&](const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> arguments{"gradient", work.model(),    "--weights", work.path("w.safetensors"),
                                       "-o",       work.path(name), "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome done = run(arguments);
    REQUIRE_MESSAGE(done.code == 0, done.err);
    return weights(work, name);
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
  CHECK(run({"gradient", work.model(), "-o", work.path("g"), "--term", "tme"}).says("did you mean \"tame\"?"));
}

// ---- Plans

TEST_CASE("a plan trains to the same bits as its specification, with the sizes that it was compiled for") {
  const Workspace work;
  REQUIRE(train(work).code == 0);
  const std::string expected = work.read("run/last.safetensors");
  const std::string plan = work.plan({"--batch-size", "8,4"});
  const auto from_plan = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"train", plan, "--out", work.path("run"), "--force"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  const Outcome done = from_plan({});
  REQUIRE_MESSAGE(done.code == 0, done.err);
  CHECK(work.read("run/last.safetensors") == expected);
  CHECK(from_plan({"--exclude", "output"}).code == 2);
  CHECK(from_plan({"--set", "train.epochs=3"}).code == 2);
  CHECK(from_plan({"--batch-size", "16"}).code == 2);
  CHECK(from_plan({"--threads", "2"}).code == 2);
  CHECK(from_plan({"--epochs", "1"}).code == 0);
  const std::string full_only = work.plan();
  const Outcome short_batch = run({"train", full_only, "--out", work.path("run"), "--force"});
  CHECK(short_batch.code == 2);
  CHECK(short_batch.says("--batch-size 8,4"));
}

TEST_CASE("a plan evaluates and predicts, and reads only where it has taps") {
  const Workspace work;
  const std::string plan = work.plan({"--tap", "hidden"});
  CHECK(json::parse(run({"evaluate", plan, "--json"}).out)["samples"] == 9);
  CHECK(run({"predict", plan, "-o", work.path("p.npy"), "--at", "hidden"}).code == 0);
  const Outcome without = run({"predict", plan, "-o", work.path("p.npy"), "--at", "hidden:linear"});
  CHECK(without.code == 2);
  CHECK(without.says("no tap"));
}

TEST_CASE("a plan that was damaged or made elsewhere is refused") {
  const Workspace work;
  const std::string plan = work.plan();
  const std::string text = work.read("small.plan");
  work.write("small.plan", text.substr(0, text.size() / 2));
  CHECK(run({"check", plan}).code == 1);
  json foreign = json::parse(text);
  foreign["fingerprint"]["instructions"] = "another_machine";
  work.write("small.plan", foreign.dump());
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
