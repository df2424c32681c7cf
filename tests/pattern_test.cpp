// Names with a star: what they match, and that everything behind the reader sees names.
#include "compiler/spec/pattern.hpp"

#include <doctest/doctest.h>

#include "compiler/explain.hpp"
#include "compiler/spec/limits.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const std::string model = R"({
  "format": "weir/1", "name": "stages",
  "inputs": { "x": { "shape": [4] } },
  "layers": [
    { "name": "stage_1", "type": "dense", "units": 4, "activation": "relu" },
    { "name": "stage_2", "type": "dense", "units": 4, "activation": "relu" },
    { "name": "stage_3", "type": "relu" },
    { "name": "head", "type": "dense", "units": 2 }
  ],
  "loss": { "unreached": "allow", "terms": {
    "early": { "type": "value", "at": "stage_1:linear" },
    "late": { "type": "value", "at": "stage_2" },
    "final": { "type": "value", "at": "head" %MORE% } } %LOSS% },
  "train": { "batch_size": 2, "optimizer": { "type": "sgd", "learning_rate": 0.1 } }
})";

std::string with_both(const std::string& more, const std::string& loss) {
  return with(with(model, "%MORE%", more), "%LOSS%", loss);
}

struct Read {
  explicit Read(const std::string& text, const SpecOverrides& overrides = {}) : diagnostics("stages", text) {
    spec = parse_spec(text, "stages", diagnostics, overrides);
  }
  Diagnostics diagnostics;
  Spec spec;
};

using Names = std::vector<std::string>;

Names values_of(const std::vector<Located<std::string>>& entries) {
  Names names;
  for (const auto& entry : entries) names.push_back(entry.value);
  return names;
}

}  // namespace

TEST_CASE("a star stands for any characters, also none, and everything else for itself") {
  CHECK(matches("*", ""));
  CHECK(matches("*", "anything"));
  CHECK(matches("conv_*", "conv_"));
  CHECK(matches("conv_*", "conv_12"));
  CHECK(matches("*_1", "conv_1"));
  CHECK(matches("c*v*1", "conv_1"));
  CHECK(matches("a*ab", "aab"));
  CHECK(matches("**a**", "a"));
  CHECK_FALSE(matches("conv_*", "conv"));
  CHECK_FALSE(matches("conv_*", "my_conv_1"));
  CHECK_FALSE(matches("*_1", "conv_12"));
  CHECK_FALSE(matches("a*a", "a"));
  CHECK_FALSE(matches("", "a"));
  CHECK(matches(std::string(100, '*') + "b", std::string(200, 'a') + "b"));
  CHECK_FALSE(matches("a*a*a*a*a*a*a*a*b", std::string(255, 'a')));
}

TEST_CASE("a pattern in exclude stands for the nodes and terms that leave a term out") {
  CHECK(values_of(Read(with_both("", R"(, "exclude": ["stage_*"])")).spec.loss->exclude) ==
        Names{"stage_1", "stage_2"});
  CHECK(values_of(Read(with_both("", R"(, "exclude": ["stage_1:*"])")).spec.loss->exclude) == Names{"stage_1:linear"});
  CHECK(values_of(Read(with_both("", R"(, "exclude": ["*ly", "early"])")).spec.loss->exclude) ==
        Names{"early", "early"});
  CHECK(values_of(Read(with_both("", R"(, "exclude": ["stage_2", "stage_*", "*_2"])")).spec.loss->exclude) ==
        Names{"stage_2", "stage_1"});
  const Read flag(with_both("", ""), {.set = {}, .exclude = {"stage_*"}});
  CHECK_FALSE(flag.diagnostics.has_errors());
  CHECK(values_of(flag.spec.loss->exclude) == Names{"stage_1", "stage_2"});
}

TEST_CASE("explain and the plan see the names") {
  const std::string text = with_both("", R"(, "exclude": ["stage_*"])");
  Read read(text);
  const Explanation explanation = explain(read.spec, read.diagnostics);
  CHECK(explanation.terms[0].excluded_by == "stage_1");
  CHECK(explanation.terms[1].excluded_by == "stage_2");
  CHECK(explanation.terms[2].role == TermRole::trained);
  const auto by_pattern = compiled(text), by_name = compiled(with_both("", R"(, "exclude": ["stage_1", "stage_2"])"));
  CHECK(by_pattern->programs == by_name->programs);
}

TEST_CASE("a pattern on the command line that matches nothing is told by the flag, with the nearest name") {
  const Read read(with_both("", ""), {.set = {}, .exclude = {"staeg_*"}});
  const std::string text = read.diagnostics.to_text();
  CHECK(text.find("--exclude staeg_*: loss: \"staeg_*\"") != std::string::npos);
  CHECK(text.find("did you mean \"stage_1\"?") != std::string::npos);
}

TEST_CASE("a pattern in stop_at stands for nodes, with a colon for ports") {
  const auto cuts = [](const std::string& list) {
    return values_of(Read(with_both(", \"stop_at\": " + list, "")).spec.loss->terms[2].stop_at);
  };
  CHECK(cuts(R"(["stage_*"])") == Names{"stage_1", "stage_2", "stage_3"});
  CHECK(cuts(R"(["*:linear"])") == Names{"stage_1:linear", "stage_2:linear"});
  CHECK(cuts(R"(["stage_2", "*_2"])") == Names{"stage_2"});
}

TEST_CASE("patterns in skip and only stand for layers that own parameters") {
  const auto owners = [](const std::string& key) {
    const Read read(with_both(", \"" + key + "\": [\"stage_*\"]", ""));
    const TermSpec& term = read.spec.loss->terms[2];
    return values_of(key == "skip" ? term.skip : term.only);
  };
  CHECK(owners("skip") == Names{"stage_1", "stage_2"});
  CHECK(owners("only") == Names{"stage_1", "stage_2"});
  const std::string text = with_both(R"(, "only": ["stage_*"])", "");
  CHECK(compile(text, {.threads = 1}).diagnostics.all().empty());  // the relu among them is nobody's mistake
}

TEST_CASE("a file may have as many patterns as the limit and not more") {
  const auto text = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += i ? R"(, "stage_*")" : R"("stage_*")";
    return with_both("", ", \"exclude\": [" + list + "]");
  };
  CHECK(Read(text(limits::patterns)).diagnostics.all().empty());
  const Read read(text(limits::patterns + 1));
  REQUIRE(read.diagnostics.all().size() == 1);
  CHECK(read.diagnostics.all()[0].code == "E0104");
}

}  // namespace weir
