#include "compiler/passes/lints.hpp"

#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>
#include <fmt/format.h>

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
  for (const char* key : {"skip", "only"}) {
    const auto listing = [&](const std::string& names) {
      return codes_of(with(R"("input": "y"})", fmt::format(R"("input": "y"}}, "{}": [{}])", key, names)));
    };
    const std::string once = listing(R"("hidden")"), twice = listing(R"("hidden", "hidden")");
    CHECK(once.find("W0406") == std::string::npos);
    CHECK(listing(R"("output", "hidden")").find("W0406") == std::string::npos);
    CHECK(twice == "W0406 " + once);
  }
  CHECK(codes_of(with(R"("input": "y"})", R"("input": "y"}, "stop_at": ["hidden", "hidden"])")) == "W0406 W0409");
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

TEST_CASE("a divergence from a constant only pushes up, and is warned of where nothing pulls back") {
  const auto tame = [](const std::string& term) {
    return codes_of(with(R"("type": "mean_absolute_error", "at": "hidden", "target": {"constant": 0})", term));
  };
  CHECK(tame(R"("type": "kl_divergence", "at": "hidden", "target": {"constant": 0.05})") == "W0410");
  CHECK(tame(R"("type": "kl_divergence", "at": "hidden", "target": {"constant": 1})").empty());
  CHECK(tame(R"("type": "kl_divergence", "at": "output", "target": {"constant": 0.3})").empty());  // behind a softmax
  CHECK(tame(R"("type": "kl_divergence", "at": "output:linear", "target": {"constant": 0.3})") == "W0410");
  CHECK(tame(R"("type": "kl_divergence", "at": "output", "target": {"input": "y"})").empty());
  CHECK(tame(R"("type": "kl_sparsity", "at": "hidden", "rho": 0.05)").empty());
  CHECK(tame(R"("type": "mean_squared_error", "at": "hidden", "target": {"constant": 0.05})").empty());
  const Compiled compiled = compile(with(R"("mean_absolute_error", "at": "hidden", "target": {"constant": 0})",
                                         R"("kl_divergence", "at": "hidden", "target": {"constant": 0.05})"));
  const std::string told = compiled.diagnostics.to_text();
  CHECK_MESSAGE(told.find("pushes every entry of \"hidden\" up to 1, never to 0.05") != std::string::npos, told);
  CHECK_MESSAGE(told.find("help: \"kl_sparsity\"") != std::string::npos, told);
}

TEST_CASE("a divergence from a constant that alone trains its part is not said to reach that constant") {
  const std::string text = with(R"("mean_absolute_error", "at": "hidden", "target": {"constant": 0})",
                                R"("kl_divergence", "at": "hidden", "target": {"constant": 0.05})");
  CHECK(codes_of(text, {.exclude = {"final"}}) == "W0410 W0402");
}

TEST_CASE("the weight of a lone term is warned of where the optimizer divides it away, and nowhere else") {
  const auto lone = [](const std::string& optimizer, const std::string& weight, const std::string& rule = "") {
    std::string text = with(R"({"type": "sgd", "learning_rate": 0.1})", optimizer);
    text.replace(text.find(R"("target": {"input": "y"})"), 24, R"("target": {"input": "y"})" + weight);
    text.replace(text.find(R"("units": 5)"), 10, R"("units": 5)" + rule);
    return codes_of(text, {.exclude = {"tame"}});
  };
  const std::string adam = R"({"type": "adam"})", half = R"(, "weight": 0.5)";
  CHECK(lone(adam, half) == "W0411");
  CHECK(lone(adam, "").empty());
  CHECK(lone(adam, R"(, "weight": 1)").empty());
  CHECK(lone(R"({"type": "sgd", "learning_rate": 0.1})", half).empty());
  CHECK(lone(R"({"type": "adam", "epsilon": 0.1})", half).empty());
  CHECK(lone(adam, R"(, "weight": {"type": "linear", "from": 0, "to": 0.5, "length": 9})").empty());
  CHECK(lone(adam, half, R"(, "kernel_regularizer": {"type": "l2", "l2": 0.01})").empty());
  CHECK(codes_of(with(R"({"type": "sgd", "learning_rate": 0.1})", adam)).empty());  // two terms
}

TEST_CASE("no example model has a lint, but the seed without its final loss") {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_SOURCE_DIR "/models")) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::string codes = codes_of(text);
    const bool known = entry.path().filename() == "seed_without_final.weir.json";
    for (const char* code : {"W0302", "W0406", "W0407", "W0408", "W0409", "W0410", "W0411"})
      CHECK_MESSAGE((known || codes.find(code) == std::string::npos), entry.path().string() << ": " << codes);
    ++models;
  }
  CHECK(models > 3);
}
