// Values that are computed again instead of kept: no bit differs, the arena is smaller, a budget is kept or refused.
#include <doctest/doctest.h>

#include <filesystem>

#include "runtime/random.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// Two blocks of convolution, normalization and relu, a shortcut, a dropout.
const std::string blocks = R"({
  "format": "weir/1", "name": "blocks",
  "inputs": { "image": { "shape": [8, 8, 3] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv_1", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "from": "image" },
    { "name": "norm_1", "type": "batch_normalization" },
    { "name": "act_1", "type": "relu" },
    { "name": "drop", "type": "dropout", "rate": 0.25 },
    { "name": "conv_2", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same" },
    { "name": "norm_2", "type": "batch_normalization" },
    { "name": "sum", "type": "add", "from": ["norm_2", "act_1"] },
    { "name": "act_2", "type": "relu" },
    { "name": "both", "type": "concatenate", "from": ["act_2", "act_1"] },
    { "name": "conv_3", "type": "conv2d", "filters": 8, "kernel_size": 1, "activation": "tanh" },
    { "name": "flat", "type": "flatten" },
    { "name": "out", "type": "dense", "units": 4 } ],
  "loss": { "terms": {
    "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
               "target": { "input": "label" } }/*more*/ } },
  "train": { "optimizer": { "type": "adam", "learning_rate": 0.01 }, "batch_size": 8/*metrics*/ }
})";

Compiled compiled_whole(const std::string& text, CompileOptions options, const Target* target = nullptr) {
  options.predict = options.evaluate = false;
  if (options.threads == 0) options.threads = 2;
  Compiled result = compile(text, options, target);
  INFO(result.diagnostics.to_text());
  REQUIRE(result.plan);
  return result;
}

std::uint64_t memory_of(const Plan& plan) { return plan.store_bytes + plan.arena_bytes(); }

/// What the plan takes where everything that helps is computed again.
std::uint64_t least_of(const Compiled& compiled) {
  return compiled.plan->store_bytes + compiled.memory_curves.at(0).points.back().arena_bytes;
}

Tensor made_up_input(const InputBinding& input, std::int64_t batch) {
  Dims dims = input.dims;
  dims.insert(dims.begin(), batch);
  if (input.dtype == DType::f32) return made_up(dims, static_cast<int>(input.name.size()));
  Tensor tensor(DType::i32, dims);
  const auto bound = static_cast<std::int32_t>(input.classes > 0 ? input.classes : 2);
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>((i * 7 + 3) % bound);
  return tensor;
}

/// Parameters, statistics and gradients after some steps, and what the steps reported.
struct Bits {
  std::map<std::string, std::vector<std::byte>> tensors;
  std::vector<double> totals;
  bool operator==(const Bits&) const = default;
};

Bits trained(const std::shared_ptr<const Plan>& plan, int steps = 2) {
  Session session(plan, {.seed = 5, .poison = true});
  const Program& program = plan->programs.front();
  std::map<std::string, Tensor> inputs;
  for (const InputBinding& input : program.inputs) inputs.emplace(input.name, made_up_input(input, program.batch));
  Bits bits;
  for (int step = 0; step < steps; ++step)
    bits.totals.push_back(session.train_step({inputs.begin(), inputs.end()}).total);
  for (const Parameter& parameter : plan->parameters) {
    bits.tensors[parameter.name] = session.parameter(parameter.name).bytes;
    if (parameter.trained) bits.tensors["d." + parameter.name] = session.gradient(parameter.name).bytes;
  }
  return bits;
}

std::vector<std::string> model_files() {
  std::vector<std::string> files;
  for (const char* folder : {"models", "bench/models"})
    for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/" + folder))
      if (entry.path().extension() == ".json")
        files.push_back(std::string(folder) + "/" + entry.path().filename().string());
  return files;
}

/// Steps that run twice: each with the recipe of its first run.
std::vector<std::string> steps_again(const Plan& plan) {
  std::vector<std::string> names;
  for (const Step& step : plan.programs.front().compute) {
    if (!step.node.ends_with(" again")) continue;
    names.push_back(step.node.substr(0, step.node.size() - 6));
    bool found = false;
    for (const Step& first : plan.programs.front().compute)
      found = found || (first.node == names.back() && first.recipe == step.recipe);
    CHECK_MESSAGE(found, step.node);
  }
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST_CASE("what is computed again has the same bits, in every model, and the arena is smaller") {
  int smaller = 0;
  for (const std::string& file : model_files()) {
    if (file.find("mobilenet") != std::string::npos) continue;  // a resnet is there, and takes less time
    INFO(file);
    const std::string text = read_file(file);
    const Compiled kept = compiled_whole(text, {.batch_sizes = {4}, .memory_curve = true});
    const std::uint64_t least = least_of(kept);
    const Compiled again = compiled_whole(text, {.batch_sizes = {4}, .memory_budget = least});
    CHECK(memory_of(*again.plan) <= least);
    if (least == memory_of(*kept.plan)) continue;
    ++smaller;
    CHECK_FALSE(steps_again(*again.plan).empty());
    CHECK(trained(again.plan) == trained(kept.plan));
  }
  CHECK(smaller >= 4);
}

TEST_CASE("the arena of every model is within a hundredth of the lower bound, with plain layouts too") {
  const auto fixed = fixed_target(2);  // compile_test looks at those of this machine
  for (const std::string& file : model_files()) {
    const auto plan = compiled(read_file(file), {}, fixed.get());
    for (const Program& program : plan->programs) {
      INFO(file, " ", to_string(program.kind));
      CHECK(static_cast<double>(program.arena_bytes) <= 1.01 * static_cast<double>(program.lower_bound));
    }
  }
}

TEST_CASE("normalization and relu are computed again from the convolution's result, products last") {
  const auto fixed = fixed_target(2);  // without scratch, whose size is the machine's matter
  const Compiled kept = compiled_whole(blocks, {.memory_curve = true}, fixed.get());
  const auto& points = kept.memory_curves.at(0).points;
  REQUIRE(points.size() >= 3);
  CHECK(points.front().again.empty());
  CHECK(points.front().time == 0);
  CHECK(points.front().arena_bytes == kept.plan->arena_bytes());
  for (std::size_t i = 1; i < points.size(); ++i) {
    CHECK(points[i].arena_bytes < points[i - 1].arena_bytes);
    CHECK(points[i].time > 0);
    CHECK(points[i].bytes > 0);
  }
  CHECK_FALSE(contains(points[1].again, "conv_2"));
}

TEST_CASE("each size of the curve is one that a budget gets, and no bit differs") {
  const Compiled kept = compiled_whole(blocks, {.memory_curve = true});
  const Bits expected = trained(kept.plan, 3);
  for (const MemoryPoint& point : kept.memory_curves.at(0).points) {
    const std::uint64_t budget = kept.plan->store_bytes + point.arena_bytes;
    const Compiled fitted = compiled_whole(blocks, {.memory_budget = budget});
    CHECK(memory_of(*fitted.plan) <= budget);
    CHECK(trained(fitted.plan, 3) == expected);
    for (const std::string& name : steps_again(*fitted.plan)) CHECK(name.find("gradient") == std::string::npos);
  }
}

TEST_CASE("a budget that is large enough changes nothing") {
  const Compiled kept = compiled_whole(blocks, {});
  CHECK(*compiled_whole(blocks, {.memory_budget = memory_of(*kept.plan)}).plan == *kept.plan);
  CHECK(kept.memory_curves.empty());
  const Compiled tight = compiled_whole(blocks, {.memory_budget = memory_of(*kept.plan) - 1});
  CHECK(memory_of(*tight.plan) < memory_of(*kept.plan));
}

TEST_CASE("a large arena gets smaller without a budget, where that costs next to nothing, and no bit differs") {
  const std::string resnet = read_file("bench/models/resnet20.weir.json");
  const auto fixed = fixed_target(2);
  const auto plan_of = [&](std::int64_t batch, CompileOptions options) {
    options.batch_sizes = {batch};
    return compiled_whole(resnet, std::move(options), fixed.get());
  };
  const Compiled kept = plan_of(64, {.without = {"recompute"}, .memory_curve = true}), saved = plan_of(64, {});
  const std::uint64_t before = kept.plan->arena_bytes(), after = saved.plan->arena_bytes();
  REQUIRE(before > 64 << 20);
  CHECK_FALSE(steps_again(*saved.plan).empty());
  const auto& points = kept.memory_curves.at(0).points;
  const auto taken =
      std::find_if(points.begin(), points.end(), [&](const MemoryPoint& point) { return point.arena_bytes == after; });
  REQUIRE(taken != points.end());
  CHECK(taken->time <= 0.03);
  CHECK(static_cast<double>(before - after) / static_cast<double>(before) >= 10 * taken->time);
  CHECK(trained(saved.plan, 1) == trained(kept.plan, 1));
  CHECK(*plan_of(64, {.memory_budget = memory_of(*kept.plan)}).plan == *kept.plan);
  CHECK(*plan_of(8, {}).plan == *plan_of(8, {.without = {"recompute"}}).plan);  // small
}

TEST_CASE("a large arena keeps what is dear to compute again") {
  std::string dense =
      R"({ "format": "weir/1", "inputs": { "x": { "shape": [512] }, "y": { "shape": [512] } }, "layers": [
    { "name": "first", "type": "dense", "units": 512, "from": "x" },)";
  for (int i = 0; i < 4; ++i)
    dense +=
        R"({ "name": "dense_)" + std::to_string(i) + R"(", "type": "dense", "units": 512, "activation": "tanh" },)";
  dense += R"({ "name": "out", "type": "dense", "units": 512 } ], "loss": { "terms": { "final": {
    "type": "mean_squared_error", "at": "out", "target": { "input": "y" } } } },
    "train": { "optimizer": { "type": "sgd" }, "batch_size": 8192 } })";
  const auto fixed = fixed_target(2);
  const Compiled kept = compiled_whole(dense, {.without = {"recompute"}}, fixed.get());
  REQUIRE(kept.plan->arena_bytes() > 64 << 20);
  CHECK(*compiled_whole(dense, {}, fixed.get()).plan == *kept.plan);
}

TEST_CASE("a budget that is too small is refused with the least that is needed, and that is enough") {
  const std::uint64_t least = least_of(compiled_whole(blocks, {.memory_curve = true}));
  const Compiled refused =
      compile(blocks, {.threads = 2, .evaluate = false, .predict = false, .memory_budget = least - 1});
  CHECK_FALSE(refused.plan);
  REQUIRE(refused.diagnostics.error_count() == 1);
  const Diagnostic& diagnostic = refused.diagnostics.all().back();
  CHECK(diagnostic.code == "E0501");
  CHECK(diagnostic.message == "the memory budget of " + std::to_string(least - 1) + " bytes is too small: at least " +
                                  std::to_string(least) + " are needed");
  CHECK(diagnostic.notes.at(1).ends_with("for the program train 8, with everything computed again that helps"));
  CHECK(diagnostic.help == "take a smaller batch size, or a budget of " + std::to_string(least));
  CHECK(memory_of(*compiled_whole(blocks, {.memory_budget = least}).plan) == least);
}

TEST_CASE("evaluation and prediction are counted too") {
  const auto plan = compiled(blocks, {.train = false});
  const Compiled refused = compile(blocks, {.threads = 2, .train = false, .memory_budget = memory_of(*plan) - 1});
  CHECK_FALSE(refused.plan);
  CHECK(refused.diagnostics.all().back().notes.at(1).find("for the program evaluate 8") != std::string::npos);
  CHECK(compile(blocks, {.threads = 2, .train = false, .memory_budget = memory_of(*plan)}).plan);
}

TEST_CASE("several batch sizes are fitted each for itself") {
  const Compiled kept = compiled_whole(blocks, {.batch_sizes = {8, 3}, .memory_curve = true});
  CHECK(kept.memory_curves.size() == 2);
  const std::uint64_t least = least_of(kept);
  const Compiled fitted = compiled_whole(blocks, {.batch_sizes = {8, 3}, .memory_budget = least});
  CHECK(memory_of(*fitted.plan) <= least);
  CHECK(*fitted.plan->find(ProgramKind::train, 3) == *kept.plan->find(ProgramKind::train, 3));
  CHECK(fitted.plan->programs.front().batch == 8);
}

TEST_CASE("who watches changes no bit under a budget, and a tapped value is kept") {
  const std::string watched =
      with(with(blocks, "/*metrics*/", R"(, "metrics": { "size": { "type": "mean", "at": "norm_1" } })"), "/*more*/",
           R"(, "watch": { "type": "mean_squared_error", "at": "sum", "target": { "constant": 1 }, "weight": 0 })");
  const Compiled kept = compiled_whole(blocks, {});
  const Compiled curve = compiled_whole(watched, {.taps = {"act_1"}, .memory_curve = true});
  const Compiled fitted = compiled_whole(watched, {.taps = {"act_1"}, .memory_budget = least_of(curve)});
  CHECK(memory_of(*fitted.plan) < memory_of(*curve.plan));
  CHECK_FALSE(contains(steps_again(*fitted.plan), "act_1"));
  CHECK(trained(fitted.plan).tensors == trained(kept.plan).tensors);
}

}  // namespace weir
