// Choices by the clock: what they may change and what not, and the file that keeps them.
#include <algorithm>
#include <set>

#include "runtime/onednn/ways.hpp"
#include "runtime/recipe_timer.hpp"
#include "runtime/tuning.hpp"
#include "tests/command_line.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;

namespace {

const std::string images = R"({
  "format": "weir/1", "inputs": { "image": { "shape": [8, 8, 2] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "first", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu" },
    { "name": "inner", "type": "conv2d", "filters": 32, "kernel_size": 1, "activation": "relu" },
    { "name": "narrow", "type": "conv2d", "filters": 16, "kernel_size": 1, "use_bias": false },
    { "name": "pool", "type": "max_pooling2d" },
    { "name": "flat", "type": "flatten" },
    { "name": "out", "type": "dense", "units": 10 } ],
  "loss": { "terms": { "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
                                  "target": { "input": "label" } } } },
  "train": { "optimizer": { "type": "adam" }, "batch_size": 8 }
})";

std::vector<double> losses(const std::shared_ptr<const Plan>& plan) {
  Session session(plan, {.seed = 3, .poison = true});
  const Tensor image = made_up({8, 8, 8, 2}, 1), label = made_up_classes(8, 10);
  std::vector<double> values;
  for (int step = 0; step < 5; ++step) values.push_back(session.train_step({{"image", image}, {"label", label}}).total);
  return values;
}

void check_alike(const std::vector<double>& one, const std::vector<double>& other) {
  REQUIRE(one.size() == other.size());
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(one[i] == doctest::Approx(other[i]).epsilon(1e-5));
}

std::set<std::string> kernels_of(const Plan& plan) {
  std::set<std::string> names;
  for (const Recipe& recipe : plan.recipes) names.insert(name_of_way(recipe));
  return names;
}

/// Every recipe that can be computed so is computed so.
TuningTable forced(TuningTable table, const std::string& kernel, const std::string& way) {
  for (auto& [recipe, step] : table)
    if (recipe.starts_with(kernel + "(")) step.way = way;
  return table;
}

}  // namespace

TEST_CASE("a tuned plan trains to the same losses and says that it is tuned") {
  TuningTable table;
  const auto plain = compiled(images), tuned = compiled(images, {.tuning = {.table = &table}});
  check_alike(losses(tuned), losses(plain));
  CHECK_FALSE(plain->tuning);
  REQUIRE(tuned->tuning);
  CHECK(tuned->tuning->timed > 0);
  CHECK(tuned->tuning->timed <= static_cast<int>(table.size()));
  CHECK(plan_from_json(plan_to_json(*tuned)) == *tuned);
  for (const auto& timed : table) {
    INFO(timed.first);
    CHECK(timed.second.seconds > 0);
    CHECK(timed.second.seconds <= timed.second.usual_seconds);
  }
}

TEST_CASE("what stands in the table is not timed again, and gives the same plan") {
  TuningTable table;
  int timed = 0;
  const auto count = [&](int, double) { ++timed; };
  const auto once = compiled(images, {.tuning = {.table = &table, .progress = count}});
  CHECK(timed == static_cast<int>(table.size()));
  const TuningTable before = table;
  const auto again = compiled(images, {.tuning = {.table = &table, .progress = count}});
  CHECK(timed == static_cast<int>(before.size()));
  CHECK(table == before);
  CHECK(*again == *once);
}

TEST_CASE("without time every recipe is computed as usual, and nothing is written down") {
  TuningTable table;
  const auto plan = compiled(images, {.without = {"assign_layouts"}, .tuning = {.table = &table, .most_seconds = 0}});
  CHECK(table.empty());
  CHECK(plan->tuning->changed == 0);
  CHECK(kernels_of(*plan) == kernels_of(*compiled(images, {.without = {"assign_layouts"}})));
}

TEST_CASE("a way that a table names is taken, whatever it is, and one that there is not is timed anew") {
  TuningTable table;
  const CompileOptions options{.without = {"assign_layouts"}, .tuning = {.table = &table}};
  const auto usual = losses(compiled(images, {.without = {"assign_layouts"}}));
  compiled(images, options);
  const TuningTable timed = table;
  for (const std::string direction : {"forward", "backward_data", "backward_weights"})
    for (const std::string team : {"/1", "/2"}) {
      table = forced(timed, "convolution_" + direction, "inner_product_" + direction + team);
      const auto plan = compiled(images, options);
      if (std::any_of(timed.begin(), timed.end(), [&](const auto& item) {
            return item.first.starts_with("convolution_" + direction) &&
                   item.first.find("[1, 1, 16, 32]") != std::string::npos &&
                   item.first.find("nChw") == std::string::npos;
          }))
        CHECK(kernels_of(*plan).contains("inner_product_" + direction + team));
      check_alike(losses(plan), usual);
    }
  table = forced(timed, "convolution_forward", "magic/1");
  compiled(images, options);
  CHECK(std::none_of(table.begin(), table.end(), [](const auto& item) { return item.second.way == "magic/1"; }));
}

TEST_CASE("all ways of a convolution of one cell compute the same") {
  using namespace weir::test;
  const Dims in{3, 4, 5, 24}, out{3, 4, 5, 16}, kernel{1, 1, 24, 16};
  const Attributes geometry{
      {"strides", Dims{1, 1}}, {"dilation", Dims{1, 1}}, {"padding", Dims{0, 0, 0, 0}}, {"groups", std::int64_t{1}}};
  Attributes with_relu = geometry;
  with_relu.set("post_op", "relu");
  const Recipe forward{"convolution_forward",
                       {read("src", in, "nhwc"), read("weights", kernel, "hwio", "any"), read("bias", {16}, "o"),
                        write("dst", out, "nhwc")},
                       with_relu,
                       2};
  const Recipe by_input{
      "convolution_backward_data",
      {read("diff_dst", out, "nhwc"), read("weights", kernel, "hwio", "any"), write("diff_src", in, "nhwc")},
      geometry,
      2};
  const Recipe by_kernel{"convolution_backward_weights",
                         {read("src", in, "nhwc"), read("diff_dst", out, "nhwc"),
                          write("diff_weights", kernel, "hwio", "any"), write("diff_bias", {16}, "o")},
                         geometry,
                         2};
  for (const Recipe& open : {forward, by_input, by_kernel}) {
    std::vector<std::vector<Values>> results;
    std::set<std::string> names;
    for (const Recipe& way : ways_of(open)) {
      const Recipe closed = close_way(way);
      names.insert(name_of_way(closed));
      Run run(closed);
      for (const RecipeOperand& operand : closed.operands)
        if (operand.access == Access::read) run.set(operand.role, numbers(element_count(operand.shape.dims), 3));
      run.run();
      std::vector<Values> values;
      for (const RecipeOperand& operand : closed.operands)
        if (operand.access == Access::write && operand.role != "scratch") values.push_back(run.get(operand.role));
      results.push_back(values);
    }
    INFO(open.kernel);
    CHECK(names.size() == 5);  // convolution and product by one thread and two, our product
    for (const auto& result : results)
      for (std::size_t i = 0; i < result.size(); ++i)
        for (std::size_t entry = 0; entry < result[i].size(); ++entry)
          CHECK(result[i][entry] == doctest::Approx(results[0][i][entry]).epsilon(1e-4));
  }
}

TEST_CASE("where many channels become few, a convolution of one cell has its kernel's gradient as a dense layer has") {
  using namespace weir::test;
  const auto by_kernel = [](std::int64_t rows, std::int64_t in, std::int64_t out, std::int64_t stride = 1) {
    return Recipe{
        "convolution_backward_weights",
        {read("src", {2, stride * rows, stride * 12, in}, "nhwc"), read("diff_dst", {2, rows, 12, out}, "nhwc"),
         write("diff_weights", {1, 1, in, out}, "hwio", "any"), write("diff_bias", {out}, "o")},
        {{"strides", Dims{stride, stride}},
         {"dilation", Dims{1, 1}},
         {"padding", Dims{0, 0, 0, 0}},
         {"groups", std::int64_t{1}}},
        2};
  };
  const std::string product = has_widest_vectors() ? "dense_tall_backward_weights" : "convolution_backward_weights";
  CHECK(usual_way(by_kernel(12, 72, 33)).kernel == product);
  CHECK(usual_way(by_kernel(10, 72, 33)).kernel == "convolution_backward_weights");  // too few pixels
  CHECK(usual_way(by_kernel(12, 65, 33)).kernel == "convolution_backward_weights");  // still many
  CHECK(usual_way(by_kernel(12, 72, 31)).kernel == "convolution_backward_weights");  // too few
  CHECK(usual_way(by_kernel(12, 72, 33, 2)).kernel == "convolution_backward_weights");
  const Recipe open = by_kernel(12, 72, 33);
  const Values x = numbers(2 * 12 * 12 * 72), d = numbers(2 * 12 * 12 * 33, 1);
  Run usual(close_way(usual_way(open))), library(close_way(open));
  for (Run* run : {&usual, &library}) run->set("src", x).set("diff_dst", d).run();
  for (const char* role : {"diff_weights", "diff_bias"}) {
    const Values found = usual.get(role), expected = library.get(role);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-4));
  }
}

TEST_CASE("without the widest vectors rows of whole multiples of 128 are ours from 32 on") {
  using namespace weir::test;
  const auto kernel_of = [](std::int64_t rows, std::int64_t in) {
    return usual_way({"inner_product_backward_weights",
                      {read("src", {rows, in}, "nc"), read("diff_dst", {rows, 256}, "nc"),
                       write("diff_weights", {in, 256}, "io", "any")}})
        .kernel;
  };
  const std::string ours = "dense_tall_backward_weights", library = "inner_product_backward_weights";
  CHECK(kernel_of(512, 200) == ours);
  CHECK(kernel_of(511, 200) == library);
  CHECK(kernel_of(32, 256) == (has_widest_vectors() ? library : ours));
  CHECK(kernel_of(31, 256) == library);
}

TEST_CASE("recipes are timed in turn, and each gets a time") {
  using namespace weir::test;
  const auto sum = [](std::int64_t count) {
    return Recipe{"pointwise", {read("a", {count}, "n"), write("out", {count}, "n")}, {{"expression", "a + a"}}, 1};
  };
  const std::vector<Recipe> recipes{sum(64), sum(1 << 20)};
  const std::vector<double> seconds = time_recipes(recipes, 0.001);
  REQUIRE(seconds.size() == 2);
  CHECK(seconds[0] > 0);
  CHECK(seconds[1] > 5 * seconds[0]);
}

// ---- The file

TEST_CASE("times survive their file, and a file that is none is refused") {
  const TuningTables tables{{"a CPU, 2 threads", {{"reorder(src)", {"reorder/1", 1e-6, 2e-6}}}}, {"another", {}}};
  CHECK(tuning_from_json(tuning_to_json(tables)) == tables);
  const auto refused = [](const std::string& text) { return message_of([&] { tuning_from_json(text); }); };
  const std::string text = tuning_to_json(tables);
  CHECK(refused("{").find("no JSON") != std::string::npos);
  CHECK(refused(std::string(100, '[')).find("deeper than 8") != std::string::npos);
  CHECK(refused("[]").find("no \"format\"") != std::string::npos);
  CHECK(refused(with(text, "weir-tuning/1", "weir-tuning/2")).find("is not weir-tuning/1") != std::string::npos);
  CHECK(refused(R"({"format": "weir-tuning/1"})").find("no \"machines\"") != std::string::npos);
  CHECK(refused(with(text, "\"way\"", "\"how\"")).find("no \"way\"") != std::string::npos);
  CHECK(refused(with(text, "1e-06", "-1")).find("is no time") != std::string::npos);
  CHECK(refused(with(text, "1e-06", "\"soon\"")).find("is no number") != std::string::npos);
}

TEST_CASE("machines differ by their threads") { CHECK(machine_name(1) != machine_name(2)); }

TEST_CASE("weir compile --tune keeps its times, a plan says that it is tuned, a broken file is said and replaced") {
  using namespace weir::command_line;
  const Workspace work;
  setenv("XDG_CACHE_HOME", work.path("cache").c_str(), 1);
  const auto compile_tuned = [&] { return run({"compile", work.model(), "-o", work.path("tuned.plan"), "--tune"}); };
  const Outcome first = compile_tuned();
  CHECK(first.code == 0);
  CHECK(first.prints("tuned ("));
  const std::string kept = work.read("cache/weir/tuning.json");
  CHECK_FALSE(tuning_from_json(kept).empty());
  CHECK(run({"show", work.path("tuned.plan")}).prints("choices differ from the usual ones"));
  CHECK(json::parse(run({"show", work.path("tuned.plan"), "--json"}).out)["tuning"]["timed"] > 0);
  CHECK_FALSE(run({"show", work.model()}).prints("tuned"));
  compile_tuned();
  CHECK(work.read("cache/weir/tuning.json") == kept);
  work.write("cache/weir/tuning.json", "{ broken");
  const Outcome anew = compile_tuned();
  CHECK(anew.code == 0);
  CHECK(anew.says("tuning.json is not used and written anew: tuning: no JSON"));
  CHECK_FALSE(tuning_from_json(work.read("cache/weir/tuning.json")).empty());
  setenv("XDG_CACHE_HOME", work.path("small.weir.json").c_str(), 1);  // no folder
  CHECK(compile_tuned().says("what was timed is not kept"));
  setenv("XDG_CACHE_HOME", work.path("cache").c_str(), 1);
  CHECK(run({"train", work.model(), "--tune", "--steps", "2", "--out", work.path("run")}).says("tuned ("));
  const Outcome plan = run({"train", work.path("tuned.plan"), "--tune"});
  CHECK(plan.code == 2);
  CHECK(plan.says("--tune on a plan"));
  unsetenv("XDG_CACHE_HOME");
}
