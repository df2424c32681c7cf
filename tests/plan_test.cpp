// The plan as a file: it says the same after a round trip, and nothing that is wrong with it gets through.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <random>

#include "runtime/kernel.hpp"
#include "runtime/onednn/primitives.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const std::string small = R"({
  "format": "weir/1", "name": "small",
  "inputs": { "x": { "shape": [6, 6, 2] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 4, "kernel_size": 3, "activation": "relu" },
    { "name": "pool", "type": "max_pooling2d" },
    { "name": "norm", "type": "batch_normalization" },
    { "name": "flat", "type": "flatten" },
    { "name": "output", "type": "dense", "units": 3, "activation": "softmax" }
  ],
  "loss": { "terms": {
    "size": { "type": "value", "at": "flat", "weight": 0.5 },
    "final": { "type": "sparse_categorical_crossentropy", "at": "output", "target": { "input": "label" } } } },
  "train": { "batch_size": 4, "optimizer": { "type": "adam" } }
})";

Plan small_plan(const Target* target = nullptr) { return *compiled(small, {.batch_sizes = {4, 3}}, target); }

double trained_total(std::shared_ptr<const Plan> plan, std::vector<std::byte>& kernel) {
  Session session(std::move(plan), {.seed = 9});
  const Tensor x = made_up({4, 6, 6, 2}, 3), label = made_up_classes(4, 3);
  double total = 0;
  for (int step = 0; step < 4; ++step) total = session.train_step({{"x", x}, {"label", label}}).total;
  kernel = session.parameter("conv.kernel").bytes;
  return total;
}

const std::string accepted = message_of([] {});

/// A change to a valid plan must be refused, with the given words.
void refuse(const std::function<void(Plan&)>& change, const std::string& words) {
  Plan plan = small_plan();
  change(plan);
  const std::string message = message_of([&] { validate_plan(plan); });
  INFO(message, " | expected: ", words);
  CHECK(message != accepted);
  CHECK(message.find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("a plan read from its file is the plan that was written, and runs to the same bits") {
  const auto plan = std::make_shared<const Plan>(small_plan());
  const std::string text = plan_to_json(*plan);
  const auto read = std::make_shared<const Plan>(plan_from_json(text));
  CHECK(*read == *plan);
  CHECK(plan_to_json(*read) == text);
  std::vector<std::byte> a, b;
  CHECK(trained_total(plan, a) == trained_total(read, b));
  CHECK(a == b);
}

TEST_CASE("every 64-bit integer of a setting survives the file") {
  Plan plan = small_plan(fixed_target(1).get());
  for (std::int64_t value : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
    Recipe dropout{.kernel = "dropout", .threads = 1};
    const Shape rows{{2, 3}, "nc", "nc"};
    dropout.operands = {{"src", Access::read, DType::f32, rows},
                        {"seed", Access::read, DType::f64, {}},
                        {"step", Access::read, DType::f64, {}},
                        {"dst", Access::write, DType::f32, rows}};
    dropout.attributes = {{"rate", 0.5}, {"name_hash", value}};
    plan.recipes.push_back(dropout);
  }
  CHECK(plan_from_json(plan_to_json(plan)) == plan);
}

TEST_CASE("compiling twice gives the same file") { CHECK(plan_to_json(small_plan()) == plan_to_json(small_plan())); }

TEST_CASE("a plan made for another library, instruction set or thread count is refused with fingerprint_mismatch") {
  for (int field = 0; field < 2; ++field) {
    Plan plan = small_plan();
    (field == 0 ? plan.fingerprint.library : plan.fingerprint.instructions) = "something else";
    try {
      Session session(std::make_shared<const Plan>(plan));
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::fingerprint_mismatch);
      CHECK(std::string(error.what()).find("something else") != std::string::npos);
    }
  }
}

TEST_CASE("a newer plan format is a version mismatch, another word is no plan") {
  const std::string text = plan_to_json(small_plan());
  CHECK(message_of([&] { plan_from_json(with(text, "weir-plan/1", "weir-plan/2")); }).find("newer") !=
        std::string::npos);
  CHECK(message_of([&] { plan_from_json(with(text, "weir-plan/1", "weir/1")); }).find("is no plan") !=
        std::string::npos);
  CHECK(message_of([&] { plan_from_json("{\"format\": "); }).find("no JSON") != std::string::npos);
  CHECK(message_of([&] { plan_from_json(std::string(100000, '[')); }).find("64 levels") != std::string::npos);
}

TEST_CASE("brackets of a name are no nesting") {
  Plan plan = small_plan();
  plan.model = std::string(70, '[') + "\\\"" + std::string(70, '{');
  CHECK(plan_from_json(plan_to_json(plan)).model == plan.model);
}

TEST_CASE("a wrong value is named by its place in the file, a wrong step by its program") {
  const std::string text = plan_to_json(small_plan());
  const std::string value = message_of([&] { plan_from_json(with(text, "\"access\":\"write\"", "\"access\":\"w\"")); });
  CHECK_MESSAGE(value.find("plan: /recipes/0/operands/") != std::string::npos, value);
  CHECK_MESSAGE(value.find("access is read, write or update; compile") != std::string::npos, value);
  const std::string top = message_of([&] { plan_from_json("[]"); });
  CHECK_MESSAGE(top.find("plan: /: an object is expected") != std::string::npos, top);
  Plan plan = small_plan();
  std::swap(plan.programs[0].compute.front(), plan.programs[0].compute.back());
  const std::string step = message_of([&] { validate_plan(plan); });
  CHECK_MESSAGE(step.find("plan: train 4 compute step 1 (") != std::string::npos, step);
}

TEST_CASE("a recipe is checked anew where it differs in what its text does not say") {
  for (const Recipe& recipe : small_plan().recipes) {
    validate_recipe(recipe);
    Recipe changed = recipe;
    for (RecipeOperand& operand : changed.operands) operand.access = Access::update;
    CHECK(to_string(changed) == to_string(recipe));
    if (is_primitive(recipe.kernel)) CHECK_THROWS_AS(validate_recipe(changed), Error);
  }
}

TEST_CASE("plans that do not hold together are refused") {
  refuse([](Plan& p) { p.programs[0].compute[0].recipe = 999; }, "no such recipe");
  refuse([](Plan& p) { p.programs[0].compute[0].operands.pop_back(); }, "operands and recipe disagree");
  refuse([](Plan& p) { p.programs[0].compute[0].operands[0].index = 999; }, "no buffer b999");
  refuse([](Plan& p) { p.programs[0].buffers[1].offset = 3; }, "no multiple of 64");
  refuse([](Plan& p) { p.programs[0].buffers[1].offset = std::uint64_t{1} << 40; }, "ends behind its memory");
  refuse([](Plan& p) { p.programs[0].arena_bytes = 64; }, "ends behind its memory");
  refuse([](Plan& p) { p.programs[0].arena_bytes = std::uint64_t{1} << 50; }, "larger than 4 TiB");
  refuse([](Plan& p) { p.programs[0].buffers[0].shape.dims.back() = 99; }, "");
  refuse([](Plan& p) { p.programs[0].buffers[0].dtype = DType::i32; }, "");
  refuse([](Plan& p) { p.store[1].offset = p.store[0].offset; }, "shares bytes");
  refuse([](Plan& p) { p.parameters[0].buffer = -1; }, "no such store buffer");
  refuse([](Plan& p) { p.parameters[0].dims = {1}; }, "another size");
  refuse([](Plan& p) { p.parameters.push_back(p.parameters[0]); }, "stands twice");
  refuse([](Plan& p) { p.scalars[0].name = "nothing"; }, "\"learning_rate\" is missing");
  refuse([](Plan& p) { p.recipes[0].kernel = "no_such_kernel"; }, "no_such_kernel");
  refuse([](Plan& p) { p.recipes[0].threads = 0; }, "threads out of range");
  refuse([](Plan& p) { p.recipes[0].operands[0].shape.layout = "nhwd"; }, "layout");
  refuse([](Plan& p) { p.programs[0].inputs[0].buffer = 5000; }, "no buffer b5000");
  refuse([](Plan& p) { std::swap(p.programs[0].compute.front(), p.programs[0].compute.back()); }, "not written");
  refuse([](Plan& p) { p.programs[0].commit[0].operands[0] = {BufferRef::Space::arena, 0}; }, "");
  refuse([](Plan& p) { p.fingerprint.threads = 0; }, "threads out of range");
}

TEST_CASE("moving any buffer onto another that is alive is found by replay") {
  const Plan plan = small_plan();
  int refused = 0, held = 0;
  for (std::size_t a = 0; a < plan.programs[0].buffers.size(); ++a)
    for (std::size_t b = 0; b < plan.programs[0].buffers.size(); ++b) {
      Plan changed = plan;
      changed.programs[0].buffers[a].offset = plan.programs[0].buffers[b].offset;
      if (a == b || changed == plan) continue;
      const std::string message = message_of([&] { validate_plan(changed); });
      (message == accepted ? held : refused) += 1;
    }
  CHECK(refused > held);
  CHECK(refused > 50);
}

TEST_CASE("bytes that another buffer overwrote are found, whichever of the two begins first") {
  const auto at = [](const char* name, std::uint64_t offset) {
    return Buffer{name, BufferClass::activation, DType::f32, {{16, 16}, "nc", "nc"}, offset};
  };
  const auto arena = [](int index) { return BufferRef{BufferRef::Space::arena, index}; };
  const Shape rows{{16, 16}, "nc", "nc"}, columns{{16, 16}, "nc", "cn"};
  for (const std::uint64_t second : {0, 64, 512, 1024, 1536, 1984, 2048}) {  // the first: 1024 … 2048
    Plan plan = small_plan();
    plan.recipes = {
        {"reorder", {{"src", Access::read, DType::f32, rows}, {"dst", Access::write, DType::f32, columns}}}};
    Program program;
    program.batch = 16, program.arena_bytes = 8192;
    program.buffers = {at("x", 4096), at("first", 1024), at("second", second), at("result", 6144)};
    program.inputs = {{"x", DType::f32, {16}, 0}};
    program.compute = {
        {0, {arena(0), arena(1)}, "one"}, {0, {arena(0), arena(2)}, "two"}, {0, {arena(1), arena(3)}, "3"}};
    plan.programs = {program};
    const std::string message = message_of([&] { validate_plan(plan); });
    INFO(second, ": ", message);
    if (second == 0 || second == 2048)
      CHECK(message == accepted);
    else
      CHECK(message.find("it reads first, whose bytes were not written or were overwritten") != std::string::npos);
  }
}

TEST_CASE("a plan file with any byte changed is refused or means a valid plan, and never crashes") {
  const std::string text = plan_to_json(small_plan(fixed_target(1).get()));
  std::mt19937 random(11);
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string changed = text;
    changed[random() % changed.size()] = static_cast<char>(32 + random() % 95);
    try {
      plan_from_json(changed);
    } catch (const Error& error) {
      CHECK(error.code() != ErrorCode::internal);
      ++refused;
    }
  }
  CHECK(refused > 100);
}

TEST_CASE("a plan file cut anywhere is refused") {
  const std::string text = plan_to_json(small_plan(fixed_target(1).get()));
  for (std::size_t length = 0; length + 2 < text.size(); length += 97)
    CHECK(message_of([&] { plan_from_json(text.substr(0, length)); }) != accepted);
}

}  // namespace weir
