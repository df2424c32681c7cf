#include "compiler/passes/lints.hpp"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "compiler/compile.hpp"

using namespace weir;

namespace {

const std::string base = R"({
  "format": "weir/1", "name": "small",
  "inputs": {"x": {"shape": [4]}, "y": {"shape": [3]}},
  "layers": [
    {"name": "hidden", "type": "dense", "units": 5, "activation": "relu", "from": "x"},
    {"name": "output", "type": "dense", "units": 3, "activation": "softmax"}
  ],
  "loss": {"terms": {
    "tame": {"type": "mean_absolute_error", "at": "hidden", "target": {"constant": 0}, "weight": 0.1},
    "final": {"type": "categorical_crossentropy", "at": "output", "target": {"input": "y"}}
  }},
  "train": {"optimizer": {"type": "sgd", "learning_rate": 0.1}}
})";

std::string with(const std::string& from, const std::string& to) {
  const std::size_t at = base.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return std::string(base).replace(at, from.size(), to);
}

std::string codes_of(const std::string& text, const CompileOptions& options = {}) {
  std::string codes;
  const Compiled compiled = compile(text, options);
  for (const Diagnostic& each : compiled.diagnostics.all()) {
    codes += (codes.empty() ? "" : " ") + each.code;
    if (each.code != "E0401") CHECK_MESSAGE(each.place.line > 0, each.message);
  }
  return codes;
}

}  // namespace

TEST_CASE("a file that is meant has no lint") { CHECK(codes_of(base).empty()); }

TEST_CASE("a layer behind measured probabilities says what it reads, or is warned of") {
  const std::string last = R"("activation": "softmax"})";
  const std::string text = with(last, last + R"(, {"name": "next", "type": "relu"})");
  CHECK(codes_of(text) == "W0302");
  CHECK(codes_of(with(last, last + R"(, {"name": "next", "type": "relu", "from": "output"})")).empty());
  CHECK(codes_of(with(last, last + R"(, {"name": "next", "type": "relu", "from": "hidden"})")).empty());
}

TEST_CASE("a name listed twice is warned of, one repeated by a flag is not") {
  CHECK(codes_of(with("}},\n  \"train\"", R"(}, "exclude": ["hidden", "hidden"]}, "train")")) == "W0406");
  CHECK(codes_of(with("}},\n  \"train\"", R"(}, "exclude": ["hidden"]}, "train")"), {.exclude = {"hidden"}}).empty());
  CHECK(codes_of(with(R"("input": "y"})", R"("input": "y"}, "skip": ["hidden", "hidden"])")) == "W0406 W0409");
}

TEST_CASE("a gradient stopped at an input is warned of, one stopped at a layer is not") {
  CHECK(codes_of(with(R"("input": "y"})", R"("input": "y"}, "stop_at": ["x"])")) == "W0407");
  CHECK(codes_of(with(R"("weight": 0.1)", R"("weight": 0)")).empty());
}

TEST_CASE("weights more than ten thousand times apart are warned of") {
  CHECK(codes_of(with(R"("weight": 0.1)", R"("weight": 0.00001)")) == "W0408");
  CHECK(codes_of(with(R"("weight": 0.1)", R"("weight": 0.0001)")).empty());
}

TEST_CASE("a constant target that alone trains its part is warned of, beside another term it is not") {
  const std::string text = with(R"("input": "y"})", R"("input": "y"}, "stop_at": ["hidden"])");
  CHECK(codes_of(text) == "W0409");
}

TEST_CASE("no example model has a lint, but the seed without its final loss") {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/models")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::string codes = codes_of(text);
    const bool known = entry.path().filename() == "seed_without_final.weir.json";
    for (const char* code : {"W0302", "W0406", "W0407", "W0408", "W0409"})
      CHECK_MESSAGE((known || codes.find(code) == std::string::npos), entry.path().string() << ": " << codes);
    ++models;
  }
  CHECK(models > 3);
}
