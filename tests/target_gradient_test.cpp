// Targets that learn: {"node": X, "gradient": true}. Both sides hear the term, and its routing holds for both.
#include <doctest/doctest.h>

#include <cmath>

#include "compiler/explain.hpp"
#include "compiler/verify.hpp"
#include "runtime/kernel.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// Two towers over one layer, and a term between them.
const std::string towers = R"({
  "format": "weir/1", "name": "towers",
  "inputs": { "x": { "shape": [6] } },
  "layers": [
    { "name": "below", "type": "dense", "units": 7, "activation": "tanh", "from": "x" },
    { "name": "left", "type": "dense", "units": 5, "activation": "%ACTIVATION%", "from": "below" },
    { "name": "right", "type": "dense", "units": 5, "activation": "%ACTIVATION%", "from": "below" }
  ],
  "loss": { "unreached": "allow", "terms": {
    "agree": { "type": "%TYPE%", "at": "left", "target": { "node": "right", "gradient": true },
               "weight": 0.5 %MORE% } } },
  "train": { "batch_size": 3, "seed": 5, "optimizer": { "type": "sgd", "learning_rate": 0.1 } }
})";

std::string model(const std::string& type, const std::string& activation, const std::string& more = "") {
  const std::string one = with(with(towers, "%ACTIVATION%", activation), "%ACTIVATION%", activation);
  return with(with(one, "%TYPE%", type), "%MORE%", more);
}

std::vector<std::string> reached(const std::string& text) {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(text, "towers", diagnostics);
  const Explanation explanation = explain(spec, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE(!diagnostics.has_errors());
  std::vector<std::string> names;
  for (const ParameterExplanation& parameter : explanation.parameters)
    if (parameter.trained) names.push_back(parameter.name);
  return names;
}

/// What weir verify finds wrong.
std::string problems(const std::string& text) {
  VerifyOptions options;
  options.threads = 1;
  Diagnostics diagnostics("towers", text);
  const VerifySubjects subjects = prepare_verify(text, options, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE(!diagnostics.has_errors());
  const VerifyReport report = verify_gradients(subjects, options);
  std::string all;
  for (const std::string& problem : report.problems()) all += problem + "\n";
  std::int64_t checked = 0;
  for (const GradientCheck& check : report.total.parameters) checked += check.checked;
  REQUIRE(checked > 20);
  return all;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("both sides and everything before them hear the term; without the word, one side does") {
  CHECK(reached(model("mean_squared_error", "tanh")) ==
        Names{"below.kernel", "below.bias", "left.kernel", "left.bias", "right.kernel", "right.bias"});
  CHECK(reached(with(model("mean_squared_error", "tanh"), R"(, "gradient": true)", "")) ==
        Names{"below.kernel", "below.bias", "left.kernel", "left.bias"});
}

TEST_CASE("stop_at, skip and only hold for both sides") {
  CHECK(reached(model("huber", "tanh", R"(, "stop_at": ["right"])")) ==
        Names{"below.kernel", "below.bias", "left.kernel", "left.bias"});
  CHECK(reached(model("huber", "tanh", R"(, "stop_at": ["left"])")) ==
        Names{"below.kernel", "below.bias", "right.kernel", "right.bias"});
  CHECK(reached(model("huber", "tanh", R"(, "stop_at": ["below"])")) ==
        Names{"left.kernel", "left.bias", "right.kernel", "right.bias"});
  CHECK(reached(model("huber", "tanh", R"(, "skip": ["right"])")) ==
        Names{"below.kernel", "below.bias", "left.kernel", "left.bias"});
  CHECK(reached(model("huber", "tanh", R"(, "only": ["right"])")) == Names{"right.kernel", "right.bias"});
  const std::string text = model("huber", "tanh", R"(, "only": ["right"])");
  CHECK(problems(text) == "");
  Diagnostics diagnostics;
  CHECK(compile(text, {.threads = 1}).diagnostics.all().empty());  // no warning that only names what is not reached
}

TEST_CASE("a target that was to learn and cannot is warned of") {
  const auto warnings = [](const std::string& text) {
    std::vector<std::string> codes;
    const Compiled result = compile(text, {.threads = 1});
    for (const Diagnostic& each : result.diagnostics.all()) codes.push_back(each.code);
    return codes;
  };
  CHECK(warnings(model("huber", "tanh")) == Names{});
  CHECK(warnings(model("huber", "tanh", R"(, "stop_at": ["right"])")) == Names{"W0424"});
  CHECK(warnings(model("huber", "tanh", R"(, "only": ["left"])")) == Names{"W0424"});
  CHECK(warnings(model("huber", "tanh", R"(, "only": ["right"])")) == Names{});
  const std::string weighted = with(model("huber", "tanh", R"(, "sample_weight": { "input": "w" })"),
                                    R"("x": { "shape": [6] })", R"("x": { "shape": [6] }, "w": { "shape": [] })");
  CHECK(warnings(weighted) == Names{});  // weights are no target
}

TEST_CASE("every loss that can gives the derivative by its target, against central differences") {
  std::size_t losses = 0;
  for (const OpDef* op : ops_table()) {
    if (!op->target_gradient) continue;
    const std::string type(op->name);
    CAPTURE(type);
    ++losses;
    const std::string activation =
        type == "kl_divergence" || type == "categorical_crossentropy" ? "softmax" : "sigmoid";
    for (const char* reduction : {"mean", "sum", "batch_mean"}) {
      CAPTURE(std::string(reduction));
      CHECK(problems(model(type, activation, ", \"reduction\": \"" + std::string(reduction) + "\"")) == "");
    }
    if (!op->logits_behind.empty()) CHECK(problems(model(type, activation, ", \"from_logits\": false")) == "");
    if (find_attribute(*op, "label_smoothing"))
      CHECK(problems(model(type, activation, ", \"label_smoothing\": 0.2")) == "");
  }
  CHECK(losses == 10);
}

TEST_CASE("masks and weights count on both sides alike") {
  std::size_t losses = 0;
  for (const OpDef* op : ops_table()) {
    if (!op->target_gradient) continue;
    const std::string type(op->name);
    CAPTURE(type);
    ++losses;
    const bool rows = type == "kl_divergence" || type == "categorical_crossentropy";
    std::string more = R"(, "mask": { "input": "valid" }, "sample_weight": { "input": "w" })";
    if (type == "categorical_crossentropy") more += R"(, "class_weight": [1, 2, 0.5, 3, 1.5], "ignore_class": 3)";
    const std::string text =
        with(model(type, rows ? "softmax" : "sigmoid", more), R"("x": { "shape": [6] })",
             R"("x": { "shape": [6] }, "valid": { "shape": [], "dtype": "i32" }, "w": { "shape": [] })");
    CHECK(problems(text) == "");
    CHECK(problems(with(text, R"("weight": 0.5)", R"("reduction": "mean_with_sample_weight", "weight": 0.5)")) == "");
    Session session(compiled(text), {.seed = 1, .poison = true});
    const Tensor x = made_up({3, 6}, 1), w = made_up({3}, 2);
    const Tensor nobody(DType::i32, {3});
    const StepResult result = session.gradient_step({{"x", x}, {"w", w}, {"valid", nobody}});
    CHECK(result.terms[0].value == 0);
    for (const char* side : {"left.kernel", "right.kernel", "below.kernel"}) {
      const Tensor gradient = session.gradient(side);
      for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
    }
  }
  CHECK(losses == 10);
}

TEST_CASE("a node may be compared with what it is computed from, and with itself") {
  const std::string text = model("mean_squared_error", "tanh");
  const std::string chain = with(with(text, R"("units": 5, "activation": "tanh", "from": "below" },
    { "name": "right")",
                                      R"("units": 5, "activation": "tanh", "from": "right" },
    { "name": "right")"),
                                 "x", "x");
  CHECK(problems(chain) == "");
  Session session(compiled(with(text, R"("node": "right")", R"("node": "left")")), {.seed = 1});
  const Tensor x = made_up({3, 6}, 1);
  CHECK(session.gradient_step({{"x", x}}).total == 0);
  const Tensor gradient = session.gradient("left.kernel");
  for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
}

TEST_CASE("at a live weight of 0 the target's gradient is zero too, and rows behind the real ones get none") {
  for (const char* type : {"poisson", "cosine_similarity", "categorical_crossentropy"}) {
    CAPTURE(std::string(type));
    Session session(compiled(model(type, std::string(type) == "poisson" ? "sigmoid" : "softmax")),
                    {.seed = 1, .poison = true});
    const Tensor x = made_up({3, 6}, 1);
    session.set_weight("agree", 0);
    session.gradient_step({{"x", x}});
    const Tensor gradient = session.gradient("right.kernel");
    for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
    session.set_weight("agree", 1);
    session.gradient_step({{"x", x}});
    double size = 0;
    const Tensor again = session.gradient("right.kernel");
    for (std::int64_t i = 0; i < again.count(); ++i) size += std::abs(again.data<float>()[i]);
    CHECK(size > 1e-6);
  }
}

TEST_CASE("watching such a term changes nothing") {
  const std::string plain = with(model("mean_squared_error", "tanh"), R"("gradient": true)", R"("gradient": false)");
  const std::string watched =
      with(plain, R"("agree": {)",
           R"("seen": { "type": "huber", "at": "right", "target": { "node": "left", "gradient": true }, "weight": 0 },
              "agree": {)");
  Session a(compiled(plain), {.seed = 1}), b(compiled(watched), {.seed = 1});
  const Tensor x = made_up({3, 6}, 1);
  for (int step = 0; step < 3; ++step) {
    a.train_step({{"x", x}});
    b.train_step({{"x", x}});
  }
  for (const Parameter& parameter : a.plan().parameters)
    CHECK(a.parameter(parameter.name).bytes == b.parameter(parameter.name).bytes);
}

TEST_CASE("kernels of target gradients refuse formulas and targets that they have none for") {
  const auto refusal = [](const std::string& type, const std::string& kernel_name, auto&& change) {
    const auto plan = compiled(model(type, "softmax"));
    for (const Recipe& recipe : plan->recipes)
      if (recipe.kernel == kernel_name) {
        Recipe wrong = recipe;
        change(wrong);
        return message_of([&] { validate_recipe(wrong); });
      }
    FAIL("no step of " << kernel_name);
    return std::string();
  };
  const std::string accepted = "(nothing was thrown)", none = "gives no gradient of its target";
  const auto formula = [](const char* word) {
    return [word](Recipe& r) { r.attributes.set("loss", std::string(word)); };
  };
  const auto integers = [](Recipe& r) {
    r.operands[static_cast<std::size_t>(r.index_of("target"))].dtype = DType::i32;
  };
  const auto same = [](Recipe&) {};
  CHECK(refusal("mean_squared_error", "loss_entries_target_gradient", same) == accepted);
  CHECK(refusal("kl_divergence", "loss_rows_target_gradient", same) == accepted);
  CHECK(refusal("categorical_crossentropy", "crossentropy_target_gradient", same) == accepted);
  CHECK(
      refusal("mean_squared_error", "loss_entries_target_gradient", formula("absolute_percentage_error")).find(none) !=
      std::string::npos);
  CHECK(refusal("kl_divergence", "loss_rows_target_gradient", formula("categorical_hinge")).find(none) !=
        std::string::npos);
  CHECK(refusal("mean_squared_error", "loss_entries_target_gradient", integers).find("must be f32") !=
        std::string::npos);
  CHECK(refusal("kl_divergence", "loss_rows_target_gradient", integers) != accepted);
  CHECK(refusal("categorical_crossentropy", "crossentropy_target_gradient", integers) != accepted);
  CHECK(refusal("categorical_crossentropy", "crossentropy_target_gradient",
                [](Recipe& r) { r.attributes.set("form", std::string("clipped_probabilities")); }) != accepted);
}

}  // namespace weir
