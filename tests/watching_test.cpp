// Watching is invisible: what is excluded, weighted 0 or only measured changes no bit of a run and no trained step.
#include <doctest/doctest.h>

#include "compiler/ir/op.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// Two convolutions with a dropout and a normalization, a loss on a hidden layer and one at the end.
const std::string base = R"({
  "format": "weir/1", "name": "watched",
  "inputs": { "image": { "shape": [9, 9, 1] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu" },
    { "name": "norm", "type": "batch_normalization" },
    { "name": "pool", "type": "max_pooling2d", "pool_size": 2 },
    { "name": "hidden", "type": "flatten" },
    { "name": "drop", "type": "dropout", "rate": 0.25 },
    { "name": "dense", "type": "dense", "units": 6, "activation": "tanh" },
    { "name": "output", "type": "dense", "units": 4, "activation": "softmax" },
    { "name": "side", "type": "dense", "from": "hidden", "units": 3 },
    { "name": "side_norm", "type": "batch_normalization" }
  ],
  "loss": { "unreached": "allow", "terms": {
    "hidden_size": { "type": "mean_absolute_error", "at": "hidden", "target": { "constant": 0 }, "weight": 0.1 },
    "final": { "type": "categorical_crossentropy", "at": "output",
               "target": { "input": "label", "one_hot": 4 } }/*more terms*/
  }/*exclude*/ },
  "train": { "batch_size": 6, "seed": 3, "optimizer": { "type": "adam", "learning_rate": 0.01 }/*metrics*/ }
})";

const std::string watched_term =
    R"(, "watch": { "type": "mean_squared_error", "at": "side_norm", "target": { "constant": 1 }, "weight": 0 })";
const std::string watched_linear =
    R"(, "watch": { "type": "mean_squared_error", "at": "dense:linear", "target": { "constant": 1 }, "weight": 0 })";
const std::string metrics =
    R"(, "metrics": {
  "accuracy": { "type": "categorical_accuracy", "at": "output", "target": { "input": "label", "one_hot": 4 } },
  "size": { "type": "mean", "at": "conv:linear" },
  "pooled": { "type": "mean_absolute_error", "at": "pool", "target": { "constant": 0 } } })";

std::map<std::string, std::vector<std::byte>> train(const std::string& text, bool poison = true,
                                                    CompileOptions options = {}) {
  Session session(compiled(text, options), {.seed = 3, .poison = poison});
  const Tensor image = made_up({6, 9, 9, 1}, 1), label = made_up_classes(6, 4);
  for (int step = 0; step < 5; ++step) session.train_step({{"image", image}, {"label", label}});
  std::map<std::string, std::vector<std::byte>> bits;
  for (const Parameter& parameter : session.plan().parameters)
    bits[parameter.name] = session.parameter(parameter.name).bytes;
  return bits;
}

std::string trained_steps(const std::string& text) {
  const auto plan = compiled(text);
  return print_steps(*plan, *plan->find(ProgramKind::train, 6), false);
}

std::vector<std::pair<std::string, std::string>> watchers() {
  return {{"a weight-0 term on an unexecuted tail", with(base, "/*more terms*/", watched_term)},
          {"a weight-0 term on a value that fusion swallows", with(base, "/*more terms*/", watched_linear)},
          {"metrics", with(base, "/*metrics*/", metrics)},
          {"an excluded term", with(with(base, "/*more terms*/", with(watched_term, "\"weight\": 0", "\"weight\": 2")),
                                    "/*exclude*/", R"(, "exclude": ["watch"])")},
          {"an excluded node", with(with(base, "/*more terms*/", with(watched_term, "\"weight\": 0", "\"weight\": 2")),
                                    "/*exclude*/", R"(, "exclude": ["side_norm"])")},
          {"everything at once", with(with(base, "/*more terms*/", watched_term), "/*metrics*/", metrics)}};
}

}  // namespace

TEST_CASE("two runs give the same bits") { CHECK(train(base) == train(base)); }

TEST_CASE("a run moves parameters and statistics at all") {
  const auto bits = train(base);
  Session fresh(compiled(base), {.seed = 3});
  for (const char* name : {"conv.kernel", "norm.moving_mean", "norm.gamma", "dense.kernel", "output.bias"}) {
    INFO(name);
    CHECK(bits.at(name) != fresh.parameter(name).bytes);
  }
  for (const char* name : {"side.kernel", "side_norm.moving_mean", "side_norm.gamma"}) {
    INFO(name);
    CHECK(bits.at(name) == fresh.parameter(name).bytes);
  }
}

TEST_CASE("adding a watcher or an excluded term leaves every parameter and statistic bit-identical") {
  const auto expected = train(base);
  for (const auto& [what, text] : watchers()) {
    const std::string label = what;
    INFO(label);
    CHECK(train(text) == expected);
  }
}

TEST_CASE("the text of the trained steps is the same with and without watchers") {
  const std::string expected = trained_steps(base);
  CHECK(expected.find("convolution_forward") != std::string::npos);
  for (const auto& [what, text] : watchers()) {
    const std::string label = what;
    INFO(label);
    CHECK(trained_steps(text) == expected);
  }
}

TEST_CASE("a tap in the training program changes no bit") {
  CHECK(train(base, true, {.taps = {"conv:linear", "side_norm", "hidden"}}) == train(base));
}

TEST_CASE("what the arena held before a step does not matter") { CHECK(train(base, true) == train(base, false)); }

TEST_CASE("an excluded deep tail adds no step and no byte") {
  const std::string text = with(with(base, "/*more terms*/", with(watched_term, "\"weight\": 0", "\"weight\": 2")),
                                "/*exclude*/", R"(, "exclude": ["side_norm"])");
  const auto without = compiled(base), plan = compiled(text);
  CHECK(plan->find(ProgramKind::train, 6)->compute.size() == without->find(ProgramKind::train, 6)->compute.size());
  CHECK(plan->find(ProgramKind::train, 6)->arena_bytes == without->find(ProgramKind::train, 6)->arena_bytes);
}

TEST_CASE("a watched value that is not finite does not stop the run, and total is the sum of the contributions") {
  const std::string text =
      with(base, "/*more terms*/",
           R"(, "watch": { "type": "mean_squared_error", "at": "side", "target": { "constant": 1e30 }, "weight": 0 })");
  Session session(compiled(text), {.seed = 3});
  const Tensor image = made_up({6, 9, 9, 1}, 1), label = made_up_classes(6, 4);
  const StepResult result = session.train_step({{"image", image}, {"label", label}});
  double sum = 0;
  for (const TermValue& term : result.terms) sum += term.contribution;
  CHECK(result.total == sum);
  CHECK(result.terms.size() == 3);
  CHECK(result.terms[2].contribution == 0);
  CHECK(result.terms[2].value > 1e30);
}

TEST_CASE("optional passes change results by rounding alone") {
  const Tensor image = made_up({6, 9, 9, 1}, 1), label = made_up_classes(6, 4);
  Session fused(compiled(base), {.seed = 3}), plain(compiled(base, {.without = {"fuse_post_ops"}}), {.seed = 3});
  for (int step = 0; step < 3; ++step) {
    const double total = fused.train_step({{"image", image}, {"label", label}}).total;
    CHECK(plain.train_step({{"image", image}, {"label", label}}).total == doctest::Approx(total).epsilon(1e-6));
  }
  CHECK(plain.plan().find(ProgramKind::train, 6)->compute.size() >
        fused.plan().find(ProgramKind::train, 6)->compute.size());
}

TEST_CASE("a sum and the activation behind it are one step, whatever the activation, forward and in prediction") {
  int activations = 0;
  for (const OpDef* op : ops_table()) {
    if (op->post_op.empty()) continue;
    ++activations;
    INFO(op->name);
    const std::string text = with(R"({
      "format": "weir/1", "name": "sums", "inputs": { "x": { "shape": [5, 6, 3] } },
      "layers": [ { "name": "a", "type": "conv2d", "filters": 4, "kernel_size": 3, "padding": "same" },
                  { "name": "b", "type": "conv2d", "from": "x", "filters": 4, "kernel_size": 1 },
                  { "name": "sum", "type": "add", "from": ["a", "b"] },
                  { "name": "act", "type": "ACTIVATION" },
                  { "name": "norm", "type": "batch_normalization" } ],
      "loss": { "terms": { "t": { "type": "mean_squared_error", "at": "norm", "target": { "constant": 3 } } } },
      "train": { "batch_size": 4, "optimizer": { "type": "sgd", "learning_rate": 0.01 } } })",
                                  "ACTIVATION", std::string(op->name));
    Session fused(compiled(text), {.seed = 3}), plain(compiled(text, {.without = {"fuse_post_ops"}}), {.seed = 3});
    Tensor x = made_up({4, 5, 6, 3}, 1);
    for (std::int64_t i = 0; i < x.count(); ++i) x.data<float>()[i] *= 20;  // some sums are above 6
    for (int step = 0; step < 2; ++step)
      CHECK(plain.train_step({{"x", x}}).total == doctest::Approx(fused.train_step({{"x", x}}).total).epsilon(1e-6));
    const Tensor one = fused.predict({{"x", x}}).at("norm"), other = plain.predict({{"x", x}}).at("norm");
    for (std::int64_t i = 0; i < one.count(); ++i)
      CHECK(one.data<float>()[i] == doctest::Approx(other.data<float>()[i]).epsilon(1e-4));
    for (const ProgramKind kind : {ProgramKind::train, ProgramKind::predict})
      CHECK(plain.plan().find(kind, 4)->compute.size() == fused.plan().find(kind, 4)->compute.size() + 1);
  }
  CHECK(activations >= 4);
}

}  // namespace weir
