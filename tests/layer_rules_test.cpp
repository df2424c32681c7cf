// Regularizers and constraints of layers: against whole models recorded from Keras, against the interpreter, and who
// gets one at all.
#include <doctest/doctest.h>

#include "compiler/explain.hpp"
#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/verify.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/recorded_case.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;

Tensor tensor_of(const Array& array) {
  Tensor tensor(DType::f32, array.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) tensor.data<float>()[i] = static_cast<float>(array[i]);
  return tensor;
}
Array array_of(const Tensor& tensor) {
  Array array(tensor.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) array[i] = static_cast<double>(tensor.data<float>()[i]);
  return array;
}

/// A recorded model in the compiled runtime.
class Recorded {
 public:
  explicit Recorded(const Json& recorded, CompileOptions options = {})
      : session_(compiled(recorded.at("spec").dump(), sized(std::move(options)))) {
    for (const auto& [name, tensor] : recorded.at("feed").items())
      inputs_.emplace(name, tensor_of(recorded_array(tensor)));
    for (const auto& [name, tensor] : inputs_) feed_.emplace(name, tensor);
    for (const auto& [name, tensor] : recorded.at("initial").items())
      session_.set_parameter(name, tensor_of(recorded_array(tensor)));
  }

  Session& session() { return session_; }
  const Feed& feed() const { return feed_; }

 private:
  static CompileOptions sized(CompileOptions options) {
    options.batch_sizes = {6};
    return options;
  }
  Session session_;
  std::map<std::string, Tensor> inputs_;
  Feed feed_;
};

Spec parsed_spec(const std::string& text) {
  Diagnostics diagnostics("model", text);
  Spec spec = parse_spec(text, "model", diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE_FALSE(diagnostics.has_errors());
  return spec;
}

/// The same in double precision, through the references of the ops.
Interpreter interpreted(const Json& recorded) {
  const Spec spec = parsed_spec(recorded.at("spec").dump());
  Diagnostics diagnostics;
  TrainingGraph training = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics);
  training = prune(add_updates(spec, differentiate(std::move(training))));
  REQUIRE_FALSE(diagnostics.has_errors());
  Interpreter run(training, 6);
  for (const char* group : {"feed", "initial"})
    for (const auto& [name, tensor] : recorded.at(group).items()) run.set(name, recorded_array(tensor));
  run.set_scalar("learning_rate", 0.25);
  return run;
}

constexpr const char* model = R"({"format": "weir/1", "inputs": {"x": {"shape": [3]}, "y": {"shape": [2]}},
  "layers": [{"name": "hidden", "type": "dense", "units": 4, "activation": "relu", "from": "x"},
             {"name": "output", "type": "dense", "units": 2},
             {"name": "tail", "type": "dense", "units": 2, "from": "hidden"}],
  "loss": {"terms": {"final": {"type": "mean_squared_error", "at": "output", "target": {"input": "y"}},
                     "side": {"type": "mean_squared_error", "at": "tail", "target": {"input": "y"}}}},
  "train": {"optimizer": {"type": "sgd"}, "batch_size": 4, "epochs": 1}})";

std::string with_rule(const std::string& layer, const std::string& rule, std::string text = model) {
  const std::string key = "\"name\": \"" + layer + "\", ";
  return with(std::move(text), key, key + rule + ", ");
}

std::vector<std::string> terms_of(const std::string& text, ProgramKind kind = ProgramKind::train) {
  const auto plan = compiled(text);
  std::vector<std::string> names;
  for (const Program& program : plan->programs)
    if (program.kind == kind)
      for (const TermReport& term : program.terms) names.push_back(term.name);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("totals and gradients with regularizers are those of Keras, compiled and in the reference") {
  for (const Json& recorded : recorded_cases("layer_rules")) {
    INFO(recorded.at("name").get<std::string>());
    Recorded compiled_model(recorded);
    Interpreter reference = interpreted(recorded);
    reference.compute();
    const StepResult result = compiled_model.session().gradient_step(compiled_model.feed());
    CHECK(reference.total() == doctest::Approx(recorded.at("total").get<double>()).epsilon(1e-8));
    CHECK(result.total == doctest::Approx(recorded.at("total").get<double>()).epsilon(1e-5));
    for (const auto& [name, tensor] : recorded.at("gradients").items()) {
      const std::string label = name;
      INFO(label);
      CHECK(deviation(reference.gradient(name), recorded_array(tensor)) <= 1e-7);
      CHECK(deviation(array_of(compiled_model.session().gradient(name)), recorded_array(tensor)) <= 2e-5);
    }
  }
}

TEST_CASE("parameters after three steps with regularizers and constraints are those of Keras") {
  for (const Json& recorded : recorded_cases("layer_rules")) {
    INFO(recorded.at("name").get<std::string>());
    Interpreter reference = interpreted(recorded);
    for (int step = 0; step < 3; ++step) reference.train_step();
    for (const auto& [name, tensor] : recorded.at("after").items()) {
      const std::string label = name;
      INFO(label);
      CHECK(deviation(reference.value(name), recorded_array(tensor)) <= 1e-7);
    }
    for (const int threads : {1, 2}) {
      Recorded run(recorded, {.threads = threads});
      for (int step = 0; step < 3; ++step) run.session().train_step(run.feed());
      for (const auto& [name, tensor] : recorded.at("after").items()) {
        const std::string label = name;
        INFO(label);
        CHECK(deviation(array_of(run.session().parameter(name)), recorded_array(tensor)) <= 5e-5);
      }
    }
  }
}

TEST_CASE("the total is the sum of the contributions, and evaluation adds the same regularizers") {
  for (const Json& recorded : recorded_cases("layer_rules")) {
    INFO(recorded.at("name").get<std::string>());
    Recorded run(recorded);
    const StepResult trained = run.session().gradient_step(run.feed());
    double sum = 0;
    std::map<std::string, double> values;
    for (const TermValue& term : trained.terms) {
      sum += term.contribution;
      values[std::string(term.name)] = term.value;
    }
    CHECK(trained.total == sum);
    const StepResult evaluated = run.session().evaluate(run.feed());
    REQUIRE(evaluated.terms.size() == values.size());
    for (const TermValue& term : evaluated.terms)
      if (term.name.find("_regularizer") != std::string_view::npos && term.name.find("activity") == term.name.npos)
        CHECK(term.value == values.at(std::string(term.name)));
  }
}

TEST_CASE("a regularizer is a term of its own: its name in the report, its weight live") {
  const std::string text =
      with_rule("hidden", R"("kernel_regularizer": {"type": "l2", "l2": 0.5}, "activity_regularizer": "l1")");
  const Names all{"final", "side", "hidden.activity_regularizer", "hidden.kernel_regularizer"};
  CHECK(terms_of(text) == all);
  CHECK(terms_of(text, ProgramKind::evaluate) == all);
  Session session(compiled(text));
  const Tensor x = made_up({4, 3}, 1), y = made_up({4, 2}, 2);
  const Feed feed{{"x", x}, {"y", y}};
  const double before = session.gradient_step(feed).total;
  const double value = session.gradient_step(feed).terms[3].value;
  CHECK(value > 0);
  session.set_weight("hidden.kernel_regularizer", 0);
  CHECK(session.gradient_step(feed).total == doctest::Approx(before - value).epsilon(1e-12));
}

TEST_CASE("frozen parameters and those that no trained term reaches get no regularizer") {
  const std::string rule = R"("kernel_regularizer": "l2", "bias_regularizer": "l1")";
  CHECK(terms_of(with_rule("tail", rule)) ==
        Names{"final", "side", "tail.kernel_regularizer", "tail.bias_regularizer"});
  CHECK(terms_of(with_rule("tail", rule + R"(, "trainable": false)")) == Names{"final", "side"});
  const std::string excluded = with(with_rule("tail", rule), R"("loss": {)", R"("loss": {"exclude": ["tail"], )");
  CHECK(terms_of(excluded) == Names{"final"});
  CHECK(terms_of(excluded, ProgramKind::evaluate) == Names{"final"});
  const std::string watched = with(with_rule("tail", rule), R"("at": "tail", )", R"("at": "tail", "weight": 0, )");
  CHECK(terms_of(watched) == Names{"final", "side"});
  const std::string skipped = with(with_rule("tail", rule), R"("at": "tail", )", R"("at": "tail", "skip": ["tail"], )");
  CHECK(terms_of(skipped) == Names{"final", "side"});
}

TEST_CASE("an activity regularizer is left out with its node and else trains what is behind it") {
  const std::string text = with_rule("tail", R"("activity_regularizer": {"type": "l2", "l2": 0.25})");
  CHECK(terms_of(text) == Names{"final", "side", "tail.activity_regularizer"});
  CHECK(terms_of(with(text, R"("loss": {)", R"("loss": {"exclude": ["tail"], )")) == Names{"final"});
  const Explanation all = [&] {
    Diagnostics diagnostics;
    return explain(parsed_spec(text), diagnostics);
  }();
  REQUIRE(all.terms.size() == 3);
  CHECK(all.terms[2].type == "l2");
  CHECK(all.terms[2].at == "tail");
  CHECK(all.terms[2].reaches == Names{"hidden.kernel", "hidden.bias", "tail.kernel", "tail.bias"});
}

TEST_CASE("a shared parameter is regularized once, by its owner") {
  const std::string shared = with(model, R"("name": "tail", )", R"("name": "tail", "share": "output", )");
  const std::string text =
      with_rule("output", R"("kernel_regularizer": "l2", "kernel_constraint": "max_norm")", shared);
  CHECK(terms_of(text) == Names{"final", "side", "output.kernel_regularizer"});
}

TEST_CASE("with a regularizer on every parameter the compiled gradients still agree with central differences") {
  const std::string rules =
      R"("kernel_regularizer": {"type": "l1_l2", "l1": 0.01, "l2": 0.1}, "bias_regularizer": "l2", )"
      R"("activity_regularizer": "l2")";
  const std::string text = with_rule("tail", rules, with_rule("output", rules, with_rule("hidden", rules)));
  VerifyOptions options;
  options.batch = 4;
  Diagnostics diagnostics;
  const VerifySubjects subjects = prepare_verify(text, options, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE_FALSE(diagnostics.has_errors());
  const VerifyReport report = verify_gradients(subjects, options);
  CHECK(report.terms.size() == 11);
  for (const std::string& problem : report.problems()) FAIL_CHECK(problem);
}

TEST_CASE("a constraint holds after every step, and only for parameters that are trained") {
  const std::string rule =
      R"("kernel_constraint": {"type": "max_norm", "max_value": 0.5}, "bias_constraint": "non_neg")";
  const std::string text = with_rule("tail", rule, with_rule("output", rule));
  Session session(compiled(with(text, R"("loss": {)", R"("loss": {"exclude": ["tail"], )")));
  const Tensor x = made_up({4, 3}, 1), y = made_up({4, 2}, 2), before = session.parameter("tail.kernel");
  for (int step = 0; step < 4; ++step) {
    session.train_step({{"x", x}, {"y", y}});
    const Tensor kernel = session.parameter("output.kernel"), bias = session.parameter("output.bias");
    for (std::int64_t unit = 0; unit < 2; ++unit) {
      double squares = 0;
      for (std::int64_t in = 0; in < 4; ++in) squares += std::pow(kernel.data<float>()[in * 2 + unit], 2);
      CHECK(std::sqrt(squares) <= 0.5 + 1e-6);
      CHECK(bias.data<float>()[unit] >= 0);
    }
  }
  CHECK(session.parameter("tail.kernel").bytes == before.bytes);
}

TEST_CASE("regularizers and constraints that do not fit are refused with a way out") {
  const auto message = [](const std::string& text) {
    const Compiled result = compile(text, {.threads = 1});
    CHECK_FALSE(result.plan);
    return result.diagnostics.to_text();
  };
  const auto has = [&](const std::string& rule, const std::string& text) {
    const std::string found = message(with_rule("output", rule));
    INFO(found);
    CHECK(found.find(text) != std::string::npos);
  };
  has(R"("use_bias": false, "bias_regularizer": "l2")", "\"output.bias_regularizer\": the layer has no bias");
  has(R"("use_bias": false, "bias_constraint": "non_neg")", "\"output.bias_constraint\": the layer has no bias");
  has(R"("kernel_constraint": {"type": "max_norm", "axis": 2})", "axis 2 does not exist, the parameter is [4, 2]");
  has(R"("kernel_constraint": {"type": "unit_norm", "axis": [0, -2]})", "axis 0 is named twice");
  has(R"("kernel_constraint": {"type": "min_max_norm", "min_value": 2})", "min_value is above max_value");
  const std::string integers =
      R"({"format": "weir/1", "inputs": {"x": {"shape": [3], "dtype": "i32"}, "y": {"shape": [3]}},
    "layers": [{"name": "flat", "type": "flatten", "from": "x", "activity_regularizer": "l2"},
               {"name": "output", "type": "dense", "units": 3, "from": "y"}],
    "loss": {"terms": {"final": {"type": "mean_squared_error", "at": "output", "target": {"input": "y"}}}},
    "train": {"optimizer": {"type": "sgd"}, "batch_size": 4, "epochs": 1}})";
  CHECK(message(integers).find("\"flat.activity_regularizer\": a regularizer needs an f32 node") != std::string::npos);
}

}  // namespace weir
