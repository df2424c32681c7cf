// weir verify: it holds for what is right, names what is wrong, and leaves out nothing but kinks.
#include <doctest/doctest.h>

#include <algorithm>

#include "compiler/cli/verify.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"
#include "tests/command_line.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// Fan-out, dropout, normalization, pooling, a shared layer, a node target, a cut, terms that are watched and excluded,
/// a frozen layer.
const std::string base = R"({
  "format": "weir/1", "name": "verified",
  "inputs": { "image": { "shape": [8, 8, 2] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 6, "kernel_size": 3, "padding": "same", "activation": "relu" },
    { "name": "norm", "type": "batch_normalization" },
    { "name": "pool", "type": "max_pooling2d", "pool_size": 2 },
    { "name": "hidden", "type": "flatten" },
    { "name": "drop", "type": "dropout", "rate": 0.25 },
    { "name": "code", "type": "dense", "units": 5, "activation": "tanh" },
    { "name": "left", "type": "dense", "units": 5, "activation": "sigmoid" },
    { "name": "right", "type": "dense", "from": "code", "units": 5, "activation": "sigmoid", "share": "left" },
    { "name": "scaled", "type": "rescaling", "from": "right", "scale": 0.5 },
    { "name": "sum", "type": "add", "from": ["left", "scaled", "code"] },
    { "name": "fixed", "type": "dense", "units": 5, "activation": "tanh", "trainable": false },
    { "name": "output", "type": "dense", "units": 4, "activation": "softmax" },
    { "name": "tail", "type": "dense", "from": "hidden", "units": 3 },
    { "name": "tail_norm", "type": "batch_normalization" },
    { "name": "other_tail", "type": "dense", "from": "code", "units": 2 }
  ],
  "loss": { "unreached": "allow", "exclude": ["other_tail"], "terms": {
    "size": { "type": "mean_absolute_error", "at": "hidden", "target": { "constant": 0.3 }, "weight": 0.1 },
    "agree": { "type": "mean_squared_error", "at": "sum", "target": { "node": "code" }, "weight": 0.5,
               "stop_at": ["pool"], "skip": ["left"] },
    "final": { "type": "categorical_crossentropy", "at": "output", "target": { "input": "label", "one_hot": 4 } },
    "watched": { "type": "mean_squared_error", "at": "tail_norm", "target": { "constant": 1 }, "weight": 0 },
    "left_out": { "type": "mean_squared_error", "at": "other_tail", "target": { "constant": 1 } }
  } },
  "train": { "batch_size": 6, "seed": 3, "optimizer": { "type": "adam", "learning_rate": 0.01 } }
})";

VerifySubjects prepared(const std::string& text, VerifyOptions options = {}) {
  options.threads = 1;
  Diagnostics diagnostics("model", text);
  VerifySubjects subjects = prepare_verify(text, options, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE(!diagnostics.has_errors());
  return subjects;
}

std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += text + "\n";
  return all;
}

bool some_problem_says(const VerifyReport& report, const std::string& first, const std::string& second) {
  const std::vector<std::string> problems = report.problems();
  return std::any_of(problems.begin(), problems.end(), [&](const std::string& problem) {
    return problem.find(first) != std::string::npos && problem.find(second) != std::string::npos;
  });
}

const GradientCheck& check_of(const LossCheck& loss, const std::string& parameter) {
  const auto found = std::find_if(loss.parameters.begin(), loss.parameters.end(),
                                  [&](const GradientCheck& check) { return check.parameter == parameter; });
  REQUIRE_MESSAGE(found != loss.parameters.end(), loss.name << " does not reach " << parameter);
  return *found;
}

std::vector<std::string> reached(const LossCheck& loss) {
  std::vector<std::string> names;
  for (const GradientCheck& check : loss.parameters) names.push_back(check.parameter);
  return names;
}

/// A plan of exactly this graph: gradients without updates.
std::shared_ptr<const Plan> plan_of(const TrainingGraph& training, std::int64_t batch) {
  const auto target = fixed_target(1);
  auto plan = std::make_shared<Plan>();
  plan->model = training.graph.name;
  plan->fingerprint = target->fingerprint();
  plan->scalars = {{"learning_rate", 0.01}, {"step", 1}, {"rows", 0}, {"seed", 0}};
  for (const Value& value : training.graph.values)
    if (value.kind == ValueKind::input) plan->inputs.push_back(value.name);
  declare_parameters(*plan, training);
  HomeShapes homes;
  emit_program(*plan, ProgramKind::train, training, lower(training, *target, batch, homes));
  finish_store(*plan, homes);
  return plan;
}

/// The first live node whose op has that name.
Node& node_of(TrainingGraph& training, std::string_view op) {
  auto& nodes = training.graph.nodes;
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [&](const Node& n) { return n.live && n.op->name == op; });
  REQUIRE_MESSAGE(found != nodes.end(), op);
  return *found;
}

using Spoil = std::function<void(TrainingGraph&)>;

struct Mutant {
  std::string what;
  std::string parameter;  ///< one whose gradient is wrong then
  Spoil spoil;
};

/// Wrong rules as a wrong graph: the operand, the factor, the sign, a contribution of them.
std::vector<Mutant> mutants() {
  return {{"a factor of 2", "left.kernel",
           [](TrainingGraph& t) { node_of(t, "rescaling.gradient").attributes.set("scale", 1.0); }},
          {"a wrong sign", "left.kernel",
           [](TrainingGraph& t) { node_of(t, "rescaling.gradient").attributes.set("scale", -0.5); }},
          {"a slightly wrong factor", "conv.kernel",
           [](TrainingGraph& t) { node_of(t, "batch_normalization.gradient").attributes.set("epsilon", 0.002); }},
          {"a dropped contribution", "code.kernel",
           [](TrainingGraph& t) { node_of(t, "add_gradients").operands.pop_back(); }},
          {"a contribution counted twice", "code.kernel",
           [](TrainingGraph& t) {
             Node& node = node_of(t, "add_gradients");
             node.operands.back() = node.operands.front();
           }},
          {"another mask than that of the forward pass", "conv.kernel",
           [](TrainingGraph& t) { node_of(t, "dropout.gradient").name = "another"; }},
          {"the gradient of tanh taken at its input", "fixed.kernel", [](TrainingGraph& t) {
             Node& node = node_of(t, "tanh.gradient");
             const Node& forward = t.graph.node(node.forward);
             std::replace(node.operands.begin(), node.operands.end(), forward.results[0], forward.operands[0]);
           }}};
}

/// The final term alone is the whole loss, so that each gradient exists once.
std::string single() {
  return with(with(base, R"("exclude": ["other_tail"])", R"("exclude": ["other_tail", "size", "agree"])"),
              R"("trainable": false)", R"("trainable": true)");
}

/// Both subjects spoiled alike: graph, plan or both.
VerifyReport spoiled(const Spoil& spoil, bool graph, bool plan) {
  VerifySubjects subjects = prepared(single());
  REQUIRE(subjects.terms.size() == 1);
  for (VerifySubject* subject : {&subjects.whole, &subjects.terms.front().second}) {
    TrainingGraph wrong = subject->training;
    spoil(wrong);
    wrong = prune(std::move(wrong));
    subject->plan = plan_of(plan ? wrong : subject->training, subjects.batch);
    if (graph) subject->training = std::move(wrong);
  }
  return verify_gradients(subjects, {});
}

}  // namespace

TEST_CASE("every small model of the repository holds") {
  for (const char* model : {"autoencoder", "mlp", "two_branches", "seed_without_final"}) {
    INFO(model);
    VerifyOptions options{.threads = 2, .batch = 2, .samples = 2};
    const std::string text = read_file("models/" + std::string(model) + ".weir.json");
    const VerifyReport report = verify_gradients(prepared(text, options), options);
    CHECK_MESSAGE(report.holds(), lines(report.problems()));
    CHECK(!report.total.parameters.empty());
    for (const GradientCheck& check : report.total.parameters) {
      CHECK(check.checked + check.kinks >= 2);
      CHECK(check.compiled_reference > 0);
      CHECK(check.reference_differences > 0);
    }
  }
}

TEST_CASE("dropout, normalization, routing, sharing, watched and excluded terms hold") {
  for (std::uint64_t seed : {0, 1, 2, 3}) {
    INFO(seed);
    const VerifyOptions options{.samples = 8, .seed = seed};
    const VerifyReport report = verify_gradients(prepared(base, options), options);
    CHECK_MESSAGE(report.holds(), lines(report.problems()));
    REQUIRE(report.terms.size() == 3);
    CHECK(reached(report.terms[0]) == std::vector<std::string>{"conv.kernel", "conv.bias", "norm.gamma", "norm.beta"});
    CHECK(reached(report.terms[1]) == std::vector<std::string>{"code.kernel", "code.bias"});
    CHECK(reached(report.total).size() == 10);
    CHECK(report.not_trained == std::vector<std::string>{"watched", "left_out"});
    CHECK(report.sum.compiled > 0);
  }
}

TEST_CASE("what no trained term may move is listed with a reason, and stays") {
  const VerifyReport report = verify_gradients(prepared(base), {});
  std::map<std::string, std::string> reasons;
  for (const UntouchedCheck& check : report.untouched) {
    reasons[check.name] = check.reason;
    CHECK_MESSAGE(check.holds, check.name);
  }
  CHECK(reasons.at("fixed.kernel") == "frozen");
  CHECK(reasons.at("tail.kernel") == "reached by no trained term");
  CHECK(reasons.at("other_tail.bias") == "reached by no trained term");
  CHECK(reasons.at("tail_norm.gamma") == "reached by no trained term");
  CHECK(reasons.at("tail_norm.moving_mean") == "followed by no trained term");
  CHECK(!reasons.contains("norm.moving_mean"));
  CHECK(!reasons.contains("conv.kernel"));
}

TEST_CASE("a graph from outside compile() holds where it is right") {
  const VerifyReport report = spoiled([](TrainingGraph&) {}, true, true);
  CHECK_MESSAGE(report.holds(), lines(report.problems()));
}

TEST_CASE("a wrong rule of a gradient is found by differences, where compiler and reference agree on it") {
  for (const Mutant& mutant : mutants()) {
    INFO(mutant.what);
    const VerifyReport report = spoiled(mutant.spoil, true, true);
    CHECK(some_problem_says(report, "term final", mutant.parameter));
    CHECK(some_problem_says(report, "total", mutant.parameter));
    const GradientCheck& check = check_of(report.total, mutant.parameter);
    CHECK(check.compiled_reference <= compiled_tolerance);
    CHECK(check.reference_differences > difference_tolerance);
    CHECK(check_of(report.total, "output.kernel").problem.empty());
  }
}

TEST_CASE("a wrong plan is found by the reference") {
  for (const Mutant& mutant : mutants()) {
    INFO(mutant.what);
    const VerifyReport report = spoiled(mutant.spoil, false, true);
    CHECK(some_problem_says(report, "term final", mutant.parameter));
    const GradientCheck& check = check_of(report.total, mutant.parameter);
    CHECK(check.compiled_reference > compiled_tolerance);
    CHECK(check.reference_differences <= difference_tolerance);
  }
}

TEST_CASE("a wrong reference is found by the plan and by differences") {
  for (const Mutant& mutant : mutants()) {
    INFO(mutant.what);
    CHECK(some_problem_says(spoiled(mutant.spoil, true, false), "term final", mutant.parameter));
  }
}

TEST_CASE("a gradient that passes a cut is found, and so is one that is missing") {
  VerifySubjects subjects = prepared(base);
  VerifySubject& agree = subjects.terms.at(1).second;
  REQUIRE(subjects.terms.at(1).first == "agree");
  Diagnostics diagnostics;
  const Spec spec = parse_spec(with(base, R"("stop_at": ["pool"],)", ""), "model", diagnostics);
  TrainingGraph uncut = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics, "agree");
  uncut = prune(differentiate(std::move(uncut)));
  VerifySubjects wrong = subjects;
  wrong.terms[1].second = {uncut, plan_of(uncut, subjects.batch)};
  CHECK(some_problem_says(verify_gradients(wrong, {}), "term agree", "conv.kernel must not move with it"));

  agree.training.gradients.erase(agree.training.graph.find("code.bias"));
  const VerifyReport report = verify_gradients(subjects, {});
  CHECK(some_problem_says(report, "term agree", "code.bias moves it, but the graph has no gradient of it"));
  CHECK(some_problem_says(report, "sum of the terms", "code.bias"));
}

TEST_CASE("a gradient that flows into a target is found") {
  // sum reads code as it is, and so does the target: a gradient into the target would take away what sum passes on.
  VerifySubjects subjects = prepared(base);
  VerifySubject& agree = subjects.terms.at(1).second;
  Node& contributions = node_of(agree.training, "add_gradients");
  REQUIRE(agree.training.graph.at(contributions.results[0]).name == "d.code");
  REQUIRE(contributions.operands.size() == 3);
  contributions.operands.erase(contributions.operands.begin());
  agree.plan = plan_of(agree.training, subjects.batch);
  const VerifyReport report = verify_gradients(subjects, {});
  CHECK(some_problem_says(report, "term agree", "code.kernel"));
  CHECK(check_of(report.terms.at(1), "code.kernel").compiled_reference <= compiled_tolerance);
}

TEST_CASE("terms that do not add up to the whole are found") {
  VerifySubjects subjects = prepared(base);
  auto plan = std::make_shared<Plan>(*subjects.whole.plan);
  plan->scalars[static_cast<std::size_t>(plan->scalar("weight.size"))].initial = 0.2;
  subjects.whole.plan = plan;
  const VerifyReport report = verify_gradients(subjects, {});
  CHECK(some_problem_says(report, "sum of the terms", "conv.kernel"));
  CHECK(some_problem_says(report, "total", "conv.kernel"));
  CHECK(!some_problem_says(report, "term size", ""));
}

TEST_CASE("a parameter that changes and must not is found") {
  VerifySubjects subjects = prepared(base);
  // A learning rate of 0 must not hide it.
  const std::string more = with(with(base, R"("exclude": ["other_tail"], )", ""), "0.01", "0");
  subjects.whole.plan = prepared(more).whole.plan;
  const VerifyReport report = verify_gradients(subjects, {});
  CHECK(some_problem_says(report, "other_tail.kernel is reached by no trained term", "changed it"));
  CHECK(some_problem_says(report, "total", "other_tail.kernel must not move with it, but the plan has a gradient"));
}

TEST_CASE("an entry where the loss has a kink is left out and counted, the others are not") {
  // still is y held constant, so y - still is 0 and moves: relu(0) has no derivative.
  const std::string text = R"({
    "format": "weir/1", "name": "kink",
    "inputs": { "x": { "shape": [3] } },
    "layers": [
      { "name": "y", "type": "dense", "units": 2, "from": "x" },
      { "name": "still", "type": "rescaling", "scale": -1, "stop_gradient": true },
      { "name": "nothing", "type": "add", "from": ["y", "still"] },
      { "name": "kink", "type": "relu" },
      { "name": "smooth", "type": "tanh", "from": "y" }
    ],
    "loss": { "terms": {
      "edge": { "type": "value", "at": "kink" },
      "soft": { "type": "mean_squared_error", "at": "smooth", "target": { "constant": 0.5 } }
    } },
    "train": { "batch_size": 4, "optimizer": { "type": "sgd" } }
  })";
  const VerifyReport report = verify_gradients(prepared(text), {});
  CHECK_MESSAGE(report.holds(), lines(report.problems()));
  for (const auto& [parameter, entries] : {std::pair("y.kernel", 6), std::pair("y.bias", 2)}) {
    CHECK(check_of(report.terms[0], parameter).kinks == entries);
    CHECK(check_of(report.terms[0], parameter).checked == 0);
    CHECK(check_of(report.terms[1], parameter).kinks == 0);
    CHECK(check_of(report.terms[1], parameter).checked == entries);
    CHECK(check_of(report.total, parameter).kinks == entries);
  }
}

TEST_CASE("a gradient that cancels to nothing is judged by what rounding leaves of it") {
  // A bias in front of a normalization moves no loss; in f32 its gradient is what rounding leaves of a sum that is 0.
  const std::string text = R"({
    "format": "weir/1", "name": "cancels",
    "inputs": { "image": { "shape": [7, 7, 3] } },
    "layers": [
      { "name": "conv", "type": "conv2d", "filters": 8, "kernel_size": 3 },
      { "name": "norm", "type": "batch_normalization" },
      { "name": "soft", "type": "tanh" }
    ],
    "loss": { "terms": { "error": { "type": "mean_squared_error", "at": "soft", "target": { "constant": 0.5 } } } },
    "train": { "batch_size": 4, "optimizer": { "type": "sgd" } }
  })";
  const VerifyReport report = verify_gradients(prepared(text), {});
  CHECK_MESSAGE(report.holds(), lines(report.problems()));
  CHECK(check_of(report.total, "conv.bias").checked == 8);
}

TEST_CASE("a loss that is not finite at the made-up point is said to be so") {
  const command_line::Workspace work;
  work.write("log.weir.json", with(command_line::small_spec, R"("mean_absolute_error", "at": "hidden")",
                                   R"("poisson", "at": "hidden:linear")"));
  const auto outcome = command_line::run({"verify", work.path("log.weir.json"), "--threads", "1"});
  CHECK(outcome.code == 1);
  CHECK(outcome.says("take another seed or batch size: loss tame is not finite"));
  CHECK_THROWS_AS(verify_gradients(prepared(base), {.samples = 0}), Error);
}

TEST_CASE("progress runs from 0 towards 1") {
  std::vector<double> seen;
  VerifyOptions options{.samples = 1};
  options.progress = [&](double done, const std::string& what) {
    CHECK(!what.empty());
    seen.push_back(done);
  };
  verify_gradients(prepared(base), options);
  CHECK(seen.size() == 4 + 10);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.front() == 0);
  CHECK(seen.back() < 1);
}

TEST_CASE("the command prints a row a parameter and term and ends with 0") {
  const command_line::Workspace work;
  const auto outcome = command_line::run({"verify", work.model(), "--threads", "1", "--samples", "3"});
  CHECK(outcome.code == 0);
  CHECK(outcome.err.empty());
  for (const char* part :
       {"tame   hidden.kernel", "final  output.bias", "total  hidden.bias", "sum of terms = total: holds"})
    CHECK_MESSAGE(outcome.prints(part), outcome.out);
  CHECK(!outcome.prints("tame   output.kernel"));
}

TEST_CASE("the command's JSON says the same, and its flags are heard") {
  const command_line::Workspace work;
  const auto outcome = command_line::run({"verify", work.model(), "--threads", "1", "--samples", "3", "--batch-size",
                                          "2", "--seed", "9", "--exclude", "output", "--json"});
  CHECK(outcome.code == 0);
  const auto json = command_line::json::parse(outcome.out);
  CHECK(json["holds"] == true);
  CHECK(json["batch_size"] == 2);
  CHECK(json["seed"] == 9);
  CHECK(json["not_trained"] == command_line::json::array({"final"}));
  CHECK(json["terms"].size() == 1);
  CHECK(json["terms"][0]["weight"] == 0.1);
  CHECK(json["terms"][0]["parameters"][0]["name"] == "hidden.kernel");
  CHECK(json["terms"][0]["parameters"][0]["entries"] == 15);
  CHECK(json["terms"][0]["parameters"][0]["checked"] == 3);
  CHECK(json["untouched"][0]["name"] == "output.kernel");
}

TEST_CASE("the command names what is wrong and ends with 1") {
  const VerifyReport report = spoiled(mutants().front().spoil, true, true);
  for (bool json : {false, true}) {
    std::ostringstream out, err;
    CHECK(cli::tell(report, {out, err, json}) == 1);
    CHECK(err.str().find("weir verify: term final, parameter left.kernel: entry [") != std::string::npos);
    CHECK(out.str().find(json ? "\"holds\": false" : "WRONG") != std::string::npos);
  }
}

TEST_CASE("the command refuses a plan, a specification without a loss, and samples of nothing") {
  const command_line::Workspace work;
  const auto plan = command_line::run({"verify", work.plan()});
  CHECK(plan.code == 2);
  CHECK(plan.says("give the specification"));
  work.write("bare.weir.json", R"({"format": "weir/1", "inputs": {"x": {"shape": [2]}},
                                   "layers": [{"name": "y", "type": "dense", "units": 1}]})");
  const auto bare = command_line::run({"verify", work.path("bare.weir.json")});
  CHECK(bare.code == 1);
  CHECK(bare.says("has no loss and train sections"));
  CHECK(command_line::run({"verify", work.model(), "--samples", "0"}).code == 2);
  CHECK(command_line::run({"verify", work.model(), "--batch-size", "0"}).code == 2);
  CHECK(command_line::run({"verify", work.model(), "--exclude", "output,hidden"}).code == 1);
}

}  // namespace weir
