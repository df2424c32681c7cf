// "combine": "uncertainty": each trained term learns a factor of its own. Against runs recorded from PyTorch
// (tests/reference/learned_weights.json), verified like any gradient, and what is left alone.
#include <algorithm>
#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "compiler/explain.hpp"
#include "compiler/verify.hpp"
#include "runtime/kernel.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/recorded_case.hpp"
#include "tests/reference_run.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;

Tensor as_f32(const Json& recorded) {
  const Array array = recorded_array(recorded);
  Tensor tensor(DType::f32, array.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) tensor.data<float>()[i] = static_cast<float>(array[i]);
  return tensor;
}

std::map<std::string, Tensor> tensors_of(const Json& recorded) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : recorded.items()) tensors.emplace(name, as_f32(tensor));
  return tensors;
}

double deviation_of(const Tensor& values, const Json& recorded) {
  Array found(values.dims);
  for (std::int64_t i = 0; i < found.count(); ++i) found[i] = values.data<float>()[i];
  return deviation(found, recorded_array(recorded));
}

bool is_close(double found, double expected, double tolerance) {
  return std::abs(found - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

const TermValue& term_of(const StepResult& result, std::string_view name) {
  const auto found =
      std::find_if(result.terms.begin(), result.terms.end(), [&](const TermValue& term) { return term.name == name; });
  REQUIRE(found != result.terms.end());
  return *found;
}

Spec spec_of(const std::string& text) {
  Diagnostics diagnostics("model.json", text);
  Spec spec = parse_spec(text, "model", diagnostics);
  REQUIRE_MESSAGE(!diagnostics.has_errors(), diagnostics.to_text());
  return spec;
}

/// A regression whose weight is %WEIGHT%, a classification, and a tail.
const std::string model = R"({
  "format": "weir/1", "name": "uncertain",
  "inputs": { "x": { "shape": [4] }, "y": { "shape": [3] }, "c": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "hidden", "type": "dense", "units": 5, "activation": "tanh", "from": "x" },
    { "name": "answer", "type": "dense", "units": 3 },
    { "name": "class", "type": "dense", "units": 3, "activation": "softmax", "from": "hidden" }
  ],
  "loss": { "combine": "uncertainty", "terms": {
    "fit": { "type": "mean_squared_error", "at": "answer", "target": { "input": "y" }, "weight": %WEIGHT% },
    "label": { "type": "sparse_categorical_crossentropy", "at": "class", "target": { "input": "c" } } } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.1 }, "batch_size": 4, "epochs": 3 }
})";
std::string weighed(const std::string& weight) { return with(model, "%WEIGHT%", weight); }

Tensor classes() {
  Tensor tensor(DType::i32, {4});
  for (int i = 0; i < 4; ++i) tensor.data<std::int32_t>()[i] = i % 3;
  return tensor;
}

struct Fixture {
  explicit Fixture(const std::string& text, const CompileOptions& options = {})
      : session(compiled(text, options), {.seed = 3, .poison = true}) {}
  Feed feed() const { return {{"x", x}, {"y", y}, {"c", c}}; }
  float log_variance(const std::string& term) const {
    return session.parameter(term + ".log_variance").data<float>()[0];
  }
  void set_log_variance(const std::string& term, float value) {
    Tensor one(DType::f32, {1});
    one.data<float>()[0] = value;
    session.set_parameter(term + ".log_variance", one);
  }

  Session session;
  Tensor x = made_up({4, 4}, 1), y = made_up({4, 3}, 2), c = classes();
};

}  // namespace

TEST_CASE("learned weights train as in PyTorch") {
  const Json cases = recorded_cases("learned_weights");
  for (const Json& recorded : cases) {
    INFO(recorded.at("name").get<std::string>());
    Session session(compiled(recorded.at("spec").dump()));
    session.load_weights(tensors_of(recorded.at("weights")));
    for (std::size_t step = 0; step < recorded.at("batches").size(); ++step) {
      const std::map<std::string, Tensor> batch = tensors_of(recorded.at("batches").at(step));
      const StepResult result = session.train_step({batch.begin(), batch.end()});
      const Json& expected = recorded.at("steps").at(step);
      CHECK(is_close(result.total, expected.at("total").get<double>(), 1e-5));
      for (const char* name : {"fit", "label"}) {
        CHECK(is_close(term_of(result, name).value, expected.at("values").at(name).get<double>(), 1e-5));
        CHECK(is_close(term_of(result, name).weight, expected.at("weights").at(name).get<double>(), 1e-5));
      }
      if (step > 0) continue;
      for (const auto& [name, gradient] : recorded.at("gradients").items()) {
        const std::string label = name;
        INFO(label);
        CHECK(deviation_of(session.gradient(name), gradient) <= 1e-5);
      }
    }
    for (const auto& [name, after] : recorded.at("after").items()) {
      const std::string label = name;
      INFO(label);
      CHECK(deviation_of(session.parameter(name), after) <= 1e-4);
    }
  }
  CHECK(cases.size() == 3);
}

TEST_CASE("the total is the sum of weight times value, the learned weights' own parts among them") {
  Fixture m(weighed("2"));
  m.set_log_variance("fit", 0.5f);
  const StepResult result = m.session.evaluate(m.feed());
  REQUIRE(result.terms.size() == 4);
  double sum = 0;
  for (const TermValue& term : result.terms) sum += term.weight * term.value;
  CHECK(result.total == sum);
  CHECK(term_of(result, "fit").weight == 2 * 0.5 * std::exp(-0.5));
  CHECK(term_of(result, "fit.log_variance").value == 0.25);
  CHECK(term_of(result, "fit.log_variance").weight == 2);
  CHECK(term_of(result, "label").weight == 1);
  CHECK(term_of(result, "label.log_variance").value == 0);
  CHECK(m.session.train_step(m.feed()).total == sum);
}

TEST_CASE("verify holds with learned weights, term by term and in the whole") {
  VerifyOptions options;
  options.threads = 1;
  for (const char* weight : {"1", "3", R"({ "type": "linear", "from": 0.5, "to": 1, "length": 4 })"}) {
    CAPTURE(std::string(weight));
    Diagnostics diagnostics;
    const VerifySubjects subjects = prepare_verify(weighed(weight), options, diagnostics);
    REQUIRE(!diagnostics.has_errors());
    const VerifyReport report = verify_gradients(subjects, options);
    CHECK(report.problems() == std::vector<std::string>{});
    CHECK(report.terms.size() == 4);
    const auto checked = [](const LossCheck& loss, std::string_view name) {
      return std::any_of(loss.parameters.begin(), loss.parameters.end(),
                         [&](const GradientCheck& check) { return check.parameter == name && check.checked == 1; });
    };
    CHECK(checked(report.total, "fit.log_variance"));
    CHECK(checked(report.total, "label.log_variance"));
  }
}

TEST_CASE("a live weight of 0 leaves a learned weight alone, whatever the loss is") {
  Fixture m(weighed("1"));
  m.session.set_weight("fit", 0);
  m.y.data<float>()[0] = std::numeric_limits<float>::max();  // its square is infinite
  const StepResult result = m.session.train_step(m.feed());
  CHECK(term_of(result, "fit").weight == 0);
  CHECK(term_of(result, "fit").contribution == 0);
  CHECK(m.log_variance("fit") == 0);
  CHECK(m.log_variance("label") != 0);
}

TEST_CASE("far outside, exp holds still and the parameter finds its way back") {
  Fixture m(weighed("1"));
  m.set_log_variance("fit", 80);
  m.set_log_variance("label", -30);
  const StepResult result = m.session.train_step(m.feed());
  CHECK(term_of(result, "fit").weight == doctest::Approx(0.5 * std::exp(-20.0)).epsilon(1e-12));
  CHECK(term_of(result, "label").weight == doctest::Approx(std::exp(20.0)).epsilon(1e-12));
  CHECK(m.log_variance("fit") < 80);
  CHECK(m.log_variance("label") > -30);
}

TEST_CASE("excluded and watched terms keep their parameter, and nothing moves it") {
  Fixture all(weighed("1")), excluded(weighed("1"), {.exclude = {"fit"}}), watched(weighed("0"));
  for (Fixture* m : {&excluded, &watched}) {
    m->session.train_step(m->feed());
    CHECK(m->log_variance("fit") == 0);
    CHECK(m->session.plan().parameters.size() == all.session.plan().parameters.size());
  }
  CHECK(excluded.log_variance("label") == watched.log_variance("label"));
  CHECK(excluded.session.parameter("class.kernel").bytes == watched.session.parameter("class.kernel").bytes);
  CHECK_FALSE(compile(weighed("1"), {.exclude = {"fit"}}).diagnostics.to_text().find("log_variance") !=
              std::string::npos);
}

TEST_CASE("where layers are frozen, the learned weights alone are nothing to train") {
  std::string frozen = weighed("1");
  for (const char* name : {"hidden", "answer", "class"})
    frozen = with(frozen, std::string("\"") + name + "\", \"type\": \"dense\",",
                  std::string("\"") + name + "\", \"type\": \"dense\", \"trainable\": false,");
  const std::string text = compile(frozen).diagnostics.to_text();
  CHECK(text.find("E0403") != std::string::npos);
  CHECK(text.find("log_variance:") == std::string::npos);
}

TEST_CASE("explain shows what a learned weight trains and costs") {
  Diagnostics diagnostics;
  const Spec spec = spec_of(weighed("1"));
  const Explanation explanation = explain(spec, diagnostics);
  const std::string text = to_text(explanation);
  CHECK(text.find("weights are learned: each trained term L counts weight · (a · exp(-s) · L + s/2)") !=
        std::string::npos);
  CHECK(text.find("that costs 2 numbers to train and no further sweep") != std::string::npos);
  CHECK(text.find("fit.log_variance: uncertainty at fit.log_variance") != std::string::npos);
  const Json json = Json::parse(to_json(explanation));
  CHECK(json.at("combine") == "uncertainty");
  for (const Json& parameter : json.at("parameters"))
    if (parameter.at("name") == "fit.log_variance") {
      CHECK(parameter.at("terms").at("fit.log_variance") == "trained");
      CHECK(parameter.at("terms").at("fit") == "unrelated");
    }
}

TEST_CASE("a plan with learned weights reads back the same") {
  const auto plan = compiled(weighed("2"));
  CHECK(plan_from_json(plan_to_json(*plan)) == *plan);
  const Program& program = *plan->find(ProgramKind::train, 4);
  CHECK(program.terms[0].given == plan->scalar("weight.fit"));
  CHECK(program.terms[0].weight == plan->scalar("learned_weight.fit"));
  CHECK(print_plan(*plan).find(" from s" + std::to_string(program.terms[0].given)) != std::string::npos);
  Plan wrong = *plan;
  wrong.programs[0].terms[0].given = 999;
  CHECK(message_of([&] { validate_plan(wrong); }).find("term fit") != std::string::npos);
}

TEST_CASE("recipes of learned weights that do not hold together are refused") {
  const auto plan = compiled(weighed("2"));
  const auto refusal = [&](std::string_view kernel, auto&& change) {
    const auto found = std::find_if(plan->recipes.begin(), plan->recipes.end(),
                                    [&](const Recipe& recipe) { return recipe.kernel == kernel; });
    REQUIRE(found != plan->recipes.end());
    Recipe wrong = *found;
    validate_recipe(wrong);
    change(wrong);
    return message_of([&] { validate_recipe(wrong); });
  };
  const auto two = [](Recipe& recipe, std::string_view role) {
    for (RecipeOperand& operand : recipe.operands)
      if (operand.role == role) operand.shape.dims = {2};
  };
  CHECK(refusal("uncertainty", [&](Recipe& r) { two(r, "log_variance"); }).find("one number") != std::string::npos);
  CHECK(refusal("uncertainty_gradient", [&](Recipe& r) { two(r, "gradient"); }).find("one number") !=
        std::string::npos);
  CHECK(refusal("uncertainty", [](Recipe& r) { r.attributes.set("factor", -1.0); }).find("factor") !=
        std::string::npos);
  CHECK(refusal("uncertainty", [](Recipe& r) { r.attributes.set("most", 100.0); }).find("most") != std::string::npos);
  CHECK(refusal("uncertainty", [](Recipe& r) { r.attributes.set("more", 1.0); }).find("more") != std::string::npos);
  CHECK(refusal("uncertainty_gradient", [](Recipe& r) { r.operands.pop_back(); }) != "");
}

}  // namespace weir
