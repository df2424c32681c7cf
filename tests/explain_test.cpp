#include "compiler/explain.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/passes/passes.hpp"

using namespace weir;

namespace {

const std::string two_branches = R"({
  "format": "weir/1", "name": "two",
  "inputs": {"x": {"shape": [4]}, "y": {"shape": [2]}},
  "layers": [
    {"name": "stem", "type": "dense", "units": 3, "from": "x"},
    {"name": "left", "type": "dense", "units": 2, "from": "stem"},
    {"name": "right", "type": "dense", "units": 2, "from": "stem"},
    {"name": "tail", "type": "dense", "units": 2, "from": "right"},
    {"name": "lonely", "type": "dense", "units": 1, "from": "x"}
  ],
  "loss": {"terms": {
    "kept": {"type": "mean_squared_error", "at": "left", "target": {"input": "y"}},
    "dropped": {"type": "mean_squared_error", "at": "tail", "target": {"input": "y"}},
    "seen": {"type": "mean_absolute_error", "at": "right", "target": {"constant": 0}, "weight": 0}
  }, "exclude": ["tail"]},
  "train": {"optimizer": {"type": "sgd", "learning_rate": 0.1},
            "metrics": {"level": {"type": "mean", "at": "lonely"}}}
})";

Explanation explained(const std::string& text) {
  Diagnostics diagnostics("two.json", text);
  const Spec spec = parse_spec(text, "two", diagnostics);
  REQUIRE_MESSAGE(!diagnostics.has_errors(), diagnostics.to_text());
  const Explanation explanation = explain(spec, diagnostics);
  REQUIRE_MESSAGE(!diagnostics.has_errors(), diagnostics.to_text());
  return explanation;
}

const ParameterExplanation& parameter(const Explanation& all, const std::string& name) {
  for (const auto& each : all.parameters)
    if (each.name == name) return each;
  FAIL("no parameter " << name);
  return all.parameters.front();
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("each parameter and term has the influence that the graph gives them") {
  const Explanation all = explained(two_branches);
  CHECK(all.parameters.size() == 10);
  const auto& stem = parameter(all, "stem.kernel").influences;
  CHECK(stem.at("kept") == Influence::trained);
  CHECK(stem.at("dropped") == Influence::excluded);
  CHECK(stem.at("seen") == Influence::watched);
  CHECK(parameter(all, "left.bias").influences.at("kept") == Influence::trained);
  CHECK(parameter(all, "left.bias").influences.at("dropped") == Influence::unrelated);
  CHECK(parameter(all, "right.kernel").influences.at("seen") == Influence::watched);
  CHECK(parameter(all, "tail.kernel").influences.at("dropped") == Influence::excluded);
  CHECK(parameter(all, "lonely.kernel").influences.at("kept") == Influence::unrelated);
}

TEST_CASE("a parameter is trained exactly where differentiating all kept terms gives it a gradient") {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(two_branches, "two", diagnostics);
  const TrainingGraph training =
      differentiate(attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics));
  const Explanation all = explained(two_branches);
  for (const auto& each : all.parameters)
    CHECK_MESSAGE(each.trained == training.gradients.contains(training.graph.find(each.name)), each.name);
  CHECK(training.gradients.size() == 4);
}

TEST_CASE("the reason for an untrained parameter names the term, the entry that excludes it, and metrics") {
  const Explanation all = explained(two_branches);
  CHECK(parameter(all, "left.kernel").reason == "trained by kept");
  CHECK(says(parameter(all, "tail.kernel").reason, "dropped is excluded by \"tail\""));
  CHECK(says(parameter(all, "right.kernel").reason, "seen has weight 0"));
  CHECK(says(parameter(all, "lonely.kernel").reason, "no term's node depends on it"));
  CHECK(says(parameter(all, "lonely.kernel").reason, "read by metric level"));
}

TEST_CASE("a model of which every term is excluded is explained, not refused") {
  std::string text = two_branches.substr(0, two_branches.find(",\n  \"train\"")) + "}";
  text.replace(text.find("[\"tail\"]"), 8, "[\"kept\", \"tail\"]");
  const Explanation all = explained(text);
  for (const auto& each : all.parameters) CHECK(!each.trained);
  CHECK(says(parameter(all, "left.kernel").reason, "kept is excluded by \"kept\""));
}

TEST_CASE("the text has a sentence for each term and a row for each parameter") {
  const std::string text = to_text(explained(two_branches));
  CHECK(says(text, "kept: mean_squared_error at left against input y, weight 1"));
  CHECK(says(text, "excluded by \"tail\""));
  CHECK(says(text, "its contribution is exactly 0"));
  CHECK(says(text, "level: mean at lonely"));
  CHECK(says(text, "tail.kernel, tail.bias are trained by no loss"));
}

TEST_CASE("the JSON says for every parameter what every term does to it") {
  const auto json = nlohmann::json::parse(to_json(explained(two_branches)));
  CHECK(json["model"] == "two");
  CHECK(json["terms"].size() == 3);
  CHECK(json["terms"][1]["role"] == "excluded");
  CHECK(json["terms"][1]["excluded_by"] == "tail");
  CHECK(json["terms"][1]["trains"].empty());
  CHECK(json["terms"][1]["reaches"].size() == 6);
  for (const auto& each : json["parameters"]) CHECK(each["terms"].size() == 3);
  CHECK(json["parameters"][0]["name"] == "stem.kernel");
  CHECK(json["parameters"][0]["terms"]["dropped"] == "excluded");
  CHECK(json["parameters"][0]["shape"] == std::vector<int>{4, 3});
}

TEST_CASE("a specification without a loss is explained as training nothing") {
  const Explanation all = explained(R"({"format": "weir/1", "inputs": {"x": {"shape": [4]}},
                                         "layers": [{"name": "a", "type": "dense", "units": 2}]})");
  CHECK(all.terms.empty());
  CHECK(says(to_text(all), "nothing is trained"));
}

TEST_CASE("a blocked cell names the cut, the skip or the frozen layer, and the route says where it stops") {
  const Explanation all = explained(R"({"format": "weir/1", "inputs": {"x": {"shape": [4]}, "y": {"shape": [2]}},
    "layers": [{"name": "a", "type": "dense", "units": 3, "from": "x"},
               {"name": "b", "type": "dense", "units": 3},
               {"name": "c", "type": "dense", "units": 3, "trainable": false},
               {"name": "d", "type": "dense", "units": 2, "activation": "softmax"}],
    "loss": {"terms": {
      "cut": {"type": "categorical_crossentropy", "at": "d", "target": {"input": "y"}, "stop_at": ["a"]},
      "skips": {"type": "mean_squared_error", "at": "d", "target": {"input": "y"}, "skip": ["b"]}}}})");
  const auto& a = parameter(all, "a.kernel").reasons;
  CHECK(a.at("cut") == "stops at a (stop_at of this term)");
  CHECK(a.at("skips") == "trained");
  CHECK(parameter(all, "b.bias").reasons.at("skips") == "skip: layer b");
  CHECK(parameter(all, "c.bias").reasons.at("skips") == "frozen: layer c");
  CHECK(says(all.terms[0].route_text, "categorical_crossentropy of the logits behind softmax d: d -> c -> b"));
  CHECK(says(all.terms[0].route_text, "stops at a (stop_at of this term)"));
  CHECK(all.terms[1].route.reads.empty());
  CHECK(all.terms[1].route.through == std::vector<std::string>{"d", "c", "b", "a"});
  CHECK(all.sweeps.count == 2);
}

TEST_CASE("a cut at the term's own node is the reason for everything behind it") {
  const Explanation all = explained(R"({"format": "weir/1", "inputs": {"x": {"shape": [4]}, "y": {"shape": [2]}},
    "layers": [{"name": "a", "type": "dense", "units": 3, "from": "x"}, {"name": "b", "type": "dense", "units": 2}],
    "loss": {"terms": {
      "cut": {"type": "mean_squared_error", "at": "b", "target": {"input": "y"}, "stop_at": ["b"]},
      "kept": {"type": "mean_squared_error", "at": "b", "target": {"input": "y"}}}}})");
  CHECK(parameter(all, "a.kernel").reasons.at("cut") == "stops at b (stop_at of this term)");
  CHECK(parameter(all, "b.bias").reasons.at("cut") == "stops at b (stop_at of this term)");
  CHECK(all.terms[0].route.through.empty());
  CHECK(all.terms[0].route.passages.empty());
  CHECK(all.terms[0].route.cuts.size() == 1);
  CHECK(all.terms[1].route.passages == std::vector<Passage>{{"b", "kept"}, {"a", "b"}});
}

TEST_CASE("a filter narrows the terms and the parameters") {
  const Explanation all = filtered(explained(two_branches), {"kept", "stem"});
  CHECK(all.terms.size() == 1);
  CHECK(all.parameters.size() == 2);
  CHECK(!says(to_text(all), "dropped:"));
}
