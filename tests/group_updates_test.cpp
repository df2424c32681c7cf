// Updates of several parameters in one step, and their copies in other layouts: the same bits as one by one.
#include <doctest/doctest.h>

#include "compiler/passes/passes.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/run_recipe.hpp"

namespace weir {
namespace {

using namespace test;

RecipeOperand updated(std::string role, Dims dims) { return tensor(std::move(role), Access::update, dims, "o", "o"); }

void add_adam_operands(Recipe& recipe, const std::string& suffix, std::int64_t count) {
  recipe.operands.push_back(updated("parameter" + suffix, {count}));
  recipe.operands.push_back(read("gradient" + suffix, {count}, "o"));
  recipe.operands.push_back(updated("m" + suffix, {count}));
  recipe.operands.push_back(updated("v" + suffix, {count}));
}

Recipe adam(int threads = 1) {
  Recipe recipe{"adam", {scalar("learning_rate"), scalar("step")}, {}, threads};
  recipe.attributes.set("beta_1", 0.9);
  recipe.attributes.set("beta_2", 0.999);
  recipe.attributes.set("epsilon", 1e-7);
  return recipe;
}

Values positive(std::int64_t count, int salt) {
  Values values = numbers(count, salt);
  for (float& value : values) value = std::abs(value);
  return values;
}

Run& fill(Run& run, const std::string& suffix, std::int64_t count, int salt) {
  return run.set("parameter" + suffix, numbers(count, salt))
      .set("gradient" + suffix, numbers(count, salt + 1))
      .set("m" + suffix, numbers(count, salt + 2))
      .set("v" + suffix, positive(count, salt + 3));
}

const std::string two_layers = R"({
  "format": "weir/1", "inputs": { "x": { "shape": [6] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "hidden", "type": "dense", "units": 5, "activation": "relu", "from": "x"/*rule*/ },
    { "name": "out", "type": "dense", "units": 3 } ],
  "loss": { "terms": { "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
                                  "target": { "input": "label" } } } },
  "train": { "optimizer": { "type": "adam", "learning_rate": 0.01 }, "batch_size": 8 }
})";

std::map<std::string, std::vector<std::byte>> trained(const std::string& text, CompileOptions options) {
  Session session(compiled(text, std::move(options)), {.seed = 3});
  const Tensor x = made_up({8, 6}, 1), label = made_up_classes(8, 3);
  for (int step = 0; step < 5; ++step) session.train_step({{"x", x}, {"label", label}});
  std::map<std::string, std::vector<std::byte>> values;
  for (const Parameter& parameter : session.plan().parameters)
    values[parameter.name] = session.parameter(parameter.name).bytes;
  return values;
}

std::vector<std::string> commit_nodes(const std::string& text, CompileOptions options = {}) {
  std::vector<std::string> nodes;
  const auto plan = compiled(text, std::move(options));
  for (const Step& step : plan->find(ProgramKind::train, 8)->commit) nodes.push_back(step.node);
  return nodes;
}

const std::string convolutions = R"({
  "format": "weir/1", "inputs": { "image": { "shape": [8, 8, 24] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "wide", "type": "conv2d", "filters": 96, "kernel_size": 1, "use_bias": false, "activation": "relu" },
    { "name": "deep", "type": "depthwise_conv2d", "kernel_size": 3, "padding": "same" },
    { "name": "narrow", "type": "conv2d", "filters": 20, "kernel_size": 3, "strides": 2 },
    { "name": "normal", "type": "batch_normalization" },
    { "name": "mean", "type": "global_average_pooling2d" },
    { "name": "out", "type": "dense", "units": 3 } ],
  "loss": { "terms": { "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
                                  "target": { "input": "label" } } } },
  "train": { "optimizer": { "type": "adam", "learning_rate": 0.01 }, "batch_size": 8 }
})";

struct Refreshed {
  std::size_t reorders = 0, movable = 0, groups = 0, tensors = 0;
  bool readers_follow = true;  ///< no step before the group reads a copy that it makes
};

Refreshed refreshed(const Plan& plan, const Program& program) {
  Refreshed found;
  std::set<int> read;
  for (const Step& step : program.refresh) {
    const Recipe& recipe = plan.recipes[static_cast<std::size_t>(step.recipe)];
    const bool stored = step.operands[0].space == BufferRef::Space::store;
    found.reorders += recipe.kernel == "reorder";
    found.movable += recipe.kernel == "reorder" && stored && !step.watched;
    found.groups += recipe.kernel == "repack";
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      if (recipe.operands[i].access == Access::read && step.operands[i].space == BufferRef::Space::arena)
        read.insert(step.operands[i].index);
      if (recipe.kernel != "repack" || recipe.operands[i].access == Access::read) continue;
      ++found.tensors;
      found.readers_follow = found.readers_follow && !read.contains(step.operands[i].index);
    }
  }
  return found;
}

/// A lowered graph of reorders alone, f32 but for i32 ones.
struct Reorders {
  LoweredGraph lowered;

  int value(const char* name, BufferClass kind, const char* layout, DType dtype = DType::f32) {
    lowered.values.push_back({.name = name, .kind = kind, .dtype = dtype, .shape = {{6, 4}, "io", layout}});
    return static_cast<int>(lowered.values.size()) - 1;
  }
  void add(const char* node, Phase phase, int from, int to, bool watched = false) {
    const auto operand = [&](const char* role, Access access, int id) {
      const LoweredValue& value = lowered.values[static_cast<std::size_t>(id)];
      return RecipeOperand{role, access, value.dtype, value.shape};
    };
    const Recipe recipe{"reorder", {operand("src", Access::read, from), operand("dst", Access::write, to)}, {}, 2};
    lowered.steps.push_back(
        {.recipe = recipe, .operands = {from, to}, .node = node, .phase = phase, .watched = watched});
  }
};

}  // namespace

TEST_CASE("one step over several tensors computes each as a step of its own does, on any number of threads") {
  const std::int64_t counts[] = {5, 10000, 4096};
  for (const int threads : {1, 2}) {
    Recipe recipe = adam(threads);
    for (int i = 0; i < 3; ++i) add_adam_operands(recipe, i ? "_" + std::to_string(i + 1) : "", counts[i]);
    Run together(recipe);
    for (int i = 0; i < 3; ++i) fill(together, i ? "_" + std::to_string(i + 1) : "", counts[i], 10 * i);
    together.set("learning_rate", 0.01).set("step", 3.0).run();
    for (int i = 0; i < 3; ++i) {
      const std::string suffix = i ? "_" + std::to_string(i + 1) : "";
      Recipe one = adam();
      add_adam_operands(one, "", counts[i]);
      Run alone(one);
      fill(alone, "", counts[i], 10 * i).set("learning_rate", 0.01).set("step", 3.0).run();
      CHECK(alone.get("parameter") != numbers(counts[i], 10 * i));
      for (const std::string role : {"parameter", "m", "v"}) CHECK(together.get(role + suffix) == alone.get(role));
    }
  }
}

TEST_CASE("one step over several statistics moves each as a step of its own does") {
  const auto average = [](std::vector<std::int64_t> counts) {
    Recipe recipe{"moving_average", {}, {{"momentum", 0.9}}, 1};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      recipe.operands.push_back(updated(repeated_role("statistic", i), {counts[i]}));
      recipe.operands.push_back(read(repeated_role("batch_value", i), {counts[i]}, "o"));
    }
    return recipe;
  };
  const std::vector<std::int64_t> counts{5, 1, 33};
  Run together(average(counts));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const int salt = 10 * static_cast<int>(i);
    together.set(repeated_role("statistic", i), numbers(counts[i], salt));
    together.set(repeated_role("batch_value", i), numbers(counts[i], salt + 1));
  }
  together.run();
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const int salt = 10 * static_cast<int>(i);
    Run alone(average({counts[i]}));
    alone.set("statistic", numbers(counts[i], salt)).set("batch_value", numbers(counts[i], salt + 1)).run();
    CHECK(alone.get("statistic") != numbers(counts[i], salt));
    CHECK(together.get(repeated_role("statistic", i)) == alone.get("statistic"));
  }
  Recipe shorter = average(counts), uneven = average(counts);
  shorter.operands.pop_back();
  CHECK(message_of([&] { validate_recipe(shorter); }).find("operand \"batch_value_3\" is missing") !=
        std::string::npos);
  uneven.operands.back().shape.dims[0] = 34;
  CHECK(message_of([&] { validate_recipe(uneven); }).find("\"batch_value_3\"") != std::string::npos);
}

TEST_CASE("a further tensor must be complete and of one shape") {
  Recipe recipe = adam();
  add_adam_operands(recipe, "", 4);
  add_adam_operands(recipe, "_2", 7);
  CHECK(message_of([&] { validate_recipe(recipe); }) == "(nothing was thrown)");
  Recipe shorter = recipe;
  shorter.operands.pop_back();
  CHECK(message_of([&] { validate_recipe(shorter); }).find("operand \"v_2\" is missing") != std::string::npos);
  Recipe uneven = recipe;
  uneven.operands.back().shape.dims[0] = 8;
  CHECK(message_of([&] { validate_recipe(uneven); }).find("\"v_2\"") != std::string::npos);
  Recipe gap = recipe;
  for (RecipeOperand& operand : gap.operands)
    if (operand.role == "parameter_2") operand.role = "parameter_3";
  CHECK(message_of([&] { validate_recipe(gap); }).find("takes no operand") != std::string::npos);
}

TEST_CASE("a model's updates are one step, and without the pass one a parameter, with the same bits") {
  CHECK(commit_nodes(two_layers) == std::vector<std::string>{"hidden.kernel, hidden.bias, out.kernel, out.bias"});
  CHECK(commit_nodes(two_layers, {.without = {"group_updates"}}).size() == 4);
  const std::string momentum =
      with(two_layers, R"("adam", "learning_rate": 0.01)", R"("sgd", "learning_rate": 0.01, "momentum": 0.9)");
  const std::string plain = with(two_layers, R"("adam")", R"("sgd")");
  for (const std::string& text : {two_layers, momentum, plain}) {
    CHECK(commit_nodes(text).size() == 1);
    CHECK(trained(text, {}) == trained(text, {.without = {"group_updates"}}));
  }
}

TEST_CASE("all statistics of one momentum move in one step") {
  const std::string text = with(two_layers, R"("activation": "relu", "from": "x"/*rule*/ },)",
                                R"("from": "x" }, { "name": "one", "type": "batch_normalization" },
    { "name": "two", "type": "batch_normalization" },
    { "name": "three", "type": "batch_normalization", "momentum": 0.5 },)");
  const std::vector<std::string> nodes = commit_nodes(text);
  const auto has = [&](const std::string& node) { return std::find(nodes.begin(), nodes.end(), node) != nodes.end(); };
  CHECK(has("one.moving_mean, one.moving_variance, two.moving_mean, two.moving_variance"));
  CHECK(has("three.moving_mean, three.moving_variance"));
  CHECK(trained(text, {}) == trained(text, {.without = {"group_updates"}}));
}

TEST_CASE("a statistic that moves twice does so in two steps") {
  const std::string text = with(two_layers, R"("activation": "relu", "from": "x"/*rule*/ },)",
                                R"("from": "x" }, { "name": "one", "type": "batch_normalization", "momentum": 0.5 },
    { "name": "two", "type": "batch_normalization", "momentum": 0.5, "share": "one" },)");
  const std::string means = "one.moving_mean, one.moving_variance";
  const std::vector<std::string> nodes = commit_nodes(text);
  CHECK(std::count(nodes.begin(), nodes.end(), means) == 2);
  CHECK(trained(text, {}) == trained(text, {.without = {"group_updates"}}));
}

TEST_CASE("copies of what is kept are one step, where the first of them stood; other reorders stay as they are") {
  Reorders r;
  const int a = r.value("a", BufferClass::parameter, "io"), b = r.value("b", BufferClass::statistic, "oi");
  const int number = r.value("number", BufferClass::parameter, "io", DType::i32);
  const auto copy = [&](const char* layout, DType dtype = DType::f32) {
    return r.value("copy", BufferClass::copy, layout, dtype);
  };
  const int turned = copy("oi"), further = copy("Io4i");
  r.add("number as oi", Phase::refresh, number, copy("oi", DType::i32));
  r.add("a as oi", Phase::refresh, a, turned);
  r.add("a for a watcher", Phase::refresh, a, copy("Oi8o"), true);
  r.add("of a copy", Phase::refresh, turned, further);
  r.add("b as io", Phase::refresh, b, copy("io"));
  r.add("a as Oi4o", Phase::refresh, a, copy("Oi4o"));
  r.add("in compute", Phase::compute, a, copy("oi"));
  const LoweredGraph grouped = group_updates(r.lowered);
  verify(grouped);
  std::vector<std::string> nodes;
  for (const LoweredStep& step : grouped.steps) nodes.push_back(step.recipe.kernel + " " + step.node);
  CHECK(nodes == std::vector<std::string>{"reorder number as oi", "repack a as oi, b as io, a as Oi4o",
                                          "reorder a for a watcher", "reorder of a copy", "reorder in compute"});
  CHECK(grouped.steps[1].operands == std::vector<int>{a, turned, b, 7, a, 8});
  validate_recipe(grouped.steps[1].recipe);
}

TEST_CASE("a model's copies are one step in every program, before whatever reads them, with the same bits") {
  const auto plan = compiled(convolutions), one_by_one = compiled(convolutions, {.without = {"group_updates"}});
  for (const ProgramKind kind : {ProgramKind::train, ProgramKind::evaluate, ProgramKind::predict}) {
    const Refreshed after = refreshed(*plan, *plan->find(kind, 8));
    const Refreshed before = refreshed(*one_by_one, *one_by_one->find(kind, 8));
    CHECK(before.groups == 0);
    CHECK(after.groups == (before.movable > 0));
    CHECK(after.tensors == before.movable);
    CHECK(after.movable == 0);
    CHECK(after.reorders == before.reorders - before.movable);
    CHECK(after.readers_follow);
    if (kind == ProgramKind::train && has_widest_vectors()) CHECK(after.tensors >= 3);
  }
  Session grouped(plan, {.seed = 3, .poison = true}), alone(one_by_one, {.seed = 3, .poison = true});
  const Tensor image = made_up({8, 8, 8, 24}, 1), label = made_up_classes(8, 3);
  for (int step = 0; step < 3; ++step) {
    const Feed feed{{"image", image}, {"label", label}};
    CHECK(grouped.train_step(feed).total == alone.train_step(feed).total);
    CHECK(grouped.predict({{"image", image}}).at("out").bytes == alone.predict({{"image", image}}).at("out").bytes);
    CHECK(grouped.evaluate(feed).total == alone.evaluate(feed).total);
  }
  for (const Parameter& parameter : plan->parameters)
    CHECK(grouped.parameter(parameter.name).bytes == alone.parameter(parameter.name).bytes);
}

TEST_CASE("a constraint still follows the update of its parameter") {
  const std::string text = with(two_layers, "/*rule*/", R"(, "kernel_constraint": { "type": "non_neg" })");
  const std::vector<std::string> nodes = commit_nodes(text);
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0] == "hidden.kernel, hidden.bias, out.kernel, out.bias");
  const auto values = trained(text, {});
  CHECK(values == trained(text, {.without = {"group_updates"}}));
  const auto* kernel = reinterpret_cast<const float*>(values.at("hidden.kernel").data());
  for (int i = 0; i < 30; ++i) CHECK(kernel[i] >= 0);
}

}  // namespace weir
