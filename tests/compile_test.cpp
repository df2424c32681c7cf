// The pipeline as a whole: what each stage says of the seed (golden text), sizes, options, diagnostics.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

/// UPDATE_GOLDENS=1 rewrites; the diff is reviewed.
void check_golden(const std::string& name, const std::string& text) {
  const std::string path = "tests/golden/" + name;
  if (std::getenv("UPDATE_GOLDENS")) std::ofstream(std::string(WEIR_SOURCE_DIR) + "/" + path) << text;
  INFO(name, " differs; UPDATE_GOLDENS=1 writes it anew");
  CHECK(text == read_file(path));
}

std::map<std::string, std::string> stages(const std::string& text, const std::string& program) {
  std::map<std::string, std::string> dumps;
  CompileOptions options{.name = "seed", .dump_after = {"all"}};
  options.dump = [&](std::string_view pass, std::string_view of, const std::string& dump) {
    if (of == program) dumps[std::string(pass)] = dump;
  };
  compiled(text, options, fixed_target(1).get());
  return dumps;
}

std::vector<std::string> model_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/models"))
    if (entry.path().extension() == ".json") files.push_back("models/" + entry.path().filename().string());
  return files;
}

}  // namespace

TEST_CASE("the stages of the seed read as they did") {
  const auto dumps = stages(read_file("models/seed.weir.json"), "train 32");
  check_golden("seed.graph.txt", dumps.at("build_graph"));
  check_golden("seed.training.txt", dumps.at("attach_watchers"));
  check_golden("seed.lowered.txt", dumps.at("lower"));
  check_golden("seed.plan.txt",
               print_plan(*compiled(read_file("models/seed.weir.json"), {.name = "seed"}, fixed_target(1).get())));
}

TEST_CASE("the stages of the seed without its final loss read as they did") {
  check_golden("seed_without_final.training.txt",
               stages(read_file("models/seed_without_final.weir.json"), "train 32").at("attach_watchers"));
}

TEST_CASE("every pass can be dumped, and every model compiles, plans its memory close to the bound, and takes a step") {
  CHECK(model_files().size() >= 6);
  for (const std::string& file : model_files()) {
    INFO(file);
    const auto plan = compiled(read_file(file));
    for (const Program& program : plan->programs) {
      CHECK(program.arena_bytes >= program.lower_bound);
      CHECK(static_cast<double>(program.arena_bytes) <= 1.01 * static_cast<double>(program.lower_bound));
    }
    Session session(plan);
    Feed feed;
    std::map<std::string, Tensor> tensors;
    const Program& train = *plan->find(ProgramKind::train, plan->training.batch_size);
    for (const InputBinding& input : train.inputs) {
      Dims dims = input.dims;
      dims.insert(dims.begin(), train.batch);
      tensors[input.name] = input.dtype == DType::i32 ? made_up_classes(element_count(dims), 10) : made_up(dims, 4);
      tensors[input.name].dims = dims;
    }
    for (const auto& [name, tensor] : tensors) feed[name] = tensor;
    const double before = session.train_step(feed).total;
    for (int step = 0; step < 12; ++step) session.train_step(feed);
    CHECK(session.train_step(feed).total < before);
  }
}

TEST_CASE("every model of the bench compiles, and only its frozen layers are warned of") {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/bench/models")) {
    if (entry.path().extension() != ".json") continue;
    INFO(entry.path().string());
    const std::string text = read_file("bench/models/" + entry.path().filename().string());
    const Compiled result = compile(text, {.threads = 1, .evaluate = false, .predict = false});
    REQUIRE_MESSAGE(result.plan, result.diagnostics.to_text());
    const Program& train = result.plan->programs.front();
    CHECK(static_cast<double>(train.arena_bytes) <= 1.01 * static_cast<double>(train.lower_bound));
    for (const Diagnostic& diagnostic : result.diagnostics.all()) CHECK(diagnostic.code == "W0405");
    ++models;
  }
  CHECK(models >= 5);
}

TEST_CASE("every batch size of the seed from 1 to 32 has correct gradients and no reference implementation") {
  const std::string text = read_file("tests/golden_runs/seed/model.weir.json");
  const std::map<std::string, Tensor> initial = read_tensors("tests/golden_runs/seed/init.safetensors");
  const Tensor image = made_up({32, 28, 28, 1}, 5), label = made_up_classes(32, 10);
  const std::unique_ptr<Target> target = host_target(2);
  // A mean over rows: the gradient of a batch is the mean of the gradients of its rows.
  Session single(compiled(text, {.batch_sizes = {1}, .evaluate = false, .predict = false}));
  single.load_weights(initial);
  std::vector<double> sum;
  for (std::int64_t size = 1; size <= 32; ++size) {
    single.gradient_step({{"image", rows(image, size - 1, 1)}, {"label", rows(label, size - 1, 1)}});
    const Tensor row = single.gradient("conv_2.kernel");
    sum.resize(static_cast<std::size_t>(row.count()));
    for (std::int64_t i = 0; i < row.count(); ++i)
      sum[static_cast<std::size_t>(i)] += static_cast<double>(row.data<float>()[i]);
    const auto plan = compiled(text, {.batch_sizes = {size}, .evaluate = false, .predict = false});
    for (const Recipe& recipe : plan->recipes) {
      INFO(to_string(recipe));
      CHECK(target->implementation(recipe).find("ref") == std::string::npos);
    }
    Session session(plan, {.poison = true});
    session.load_weights(initial);
    session.gradient_step({{"image", rows(image, 0, size)}, {"label", rows(label, 0, size)}});
    const Tensor gradient = session.gradient("conv_2.kernel");
    double worst = 0, most = 0;
    for (std::int64_t i = 0; i < gradient.count(); ++i) {
      const double expected = sum[static_cast<std::size_t>(i)] / static_cast<double>(size);
      worst = std::max(worst, std::abs(expected - static_cast<double>(gradient.data<float>()[i])));
      most = std::max(most, std::abs(expected));
    }
    INFO("batch ", size);
    CHECK(worst <= 1e-4 * most);
  }
}

TEST_CASE("parameters that no term reaches are a warning, an error or nothing, as the file says") {
  const std::string text = read_file("models/seed_without_final.weir.json");
  const Compiled warned = compile(text, {.threads = 1});
  REQUIRE(warned.plan);
  CHECK(warned.diagnostics.to_text().find(
            "parameters dense_1.kernel, dense_1.bias, output.kernel, output.bias are trained by no loss") !=
        std::string::npos);
  const Compiled refused =
      compile(with(text, "\"exclude\": [", "\"unreached\": \"error\", \"exclude\": ["), {.threads = 1});
  CHECK_FALSE(refused.plan);
  CHECK(refused.diagnostics.has_errors());
  const Compiled silent =
      compile(with(text, "\"exclude\": [", "\"unreached\": \"allow\", \"exclude\": ["), {.threads = 1});
  CHECK(silent.plan);
  CHECK(silent.diagnostics.to_text().find("trained by no loss") == std::string::npos);
}

TEST_CASE("shape errors name the layer, the chain that led there and the constraint") {
  const std::string text = with(read_file("models/mlp.weir.json"), "{ \"name\": \"drop_1\",",
                                "{ \"name\": \"wrong\", \"type\": \"max_pooling2d\" }, { \"name\": \"drop_1\",");
  const Compiled refused = compile(text, {.name = "mlp.weir.json"});
  CHECK_FALSE(refused.plan);
  const std::string message = refused.diagnostics.to_text();
  INFO(message);
  for (const char* part : {"mlp.weir.json:", "layer \"wrong\"",
                           "image f32[B, 28, 28, 1] -> scaled f32[B, 28, 28, 1] -> pixels f32[B, 784]", "C1"})
    CHECK(message.find(part) != std::string::npos);
  CHECK(refused.diagnostics.error_count() == 1);  // what follows from it is not reported
}

TEST_CASE("losses whose shapes do not fit say both shapes and the way out") {
  const std::string text = read_file("models/seed.weir.json");
  const Compiled refused = compile(with(text, "\"one_hot\": 10 } }\n    }", "\"one_hot\": 12 } }\n    }"));
  CHECK(refused.diagnostics.to_text().find("\"final\" at \"output\"") != std::string::npos);
  CHECK(refused.diagnostics.to_text().find("12") != std::string::npos);
  CHECK_FALSE(refused.plan);
}

/// Words of a vocabulary of ten, five a sample.
std::string reading(const std::string& first_layer) {
  return R"({"format": "weir/1", "inputs": {"words": {"shape": [5], "dtype": "i32"}, "y": {"shape": [3]}},
    "layers": [)" +
         first_layer + R"(, {"name": "flat", "type": "flatten"}, {"name": "output", "type": "dense", "units": 3}],
    "loss": {"terms": {"error": {"type": "mean_squared_error", "at": "output", "target": {"input": "y"}}}},
    "train": {"optimizer": {"type": "sgd", "learning_rate": 0.1}, "batch_size": 2}})";
}

TEST_CASE("layers that compute refuse integers, a layer that looks numbers up refuses anything else") {
  const auto said = [](const std::string& layer, const char* message) {
    const Compiled refused = compile(reading(layer));
    CHECK_FALSE(refused.plan);
    CHECK(refused.diagnostics.to_text().find(message) != std::string::npos);
  };
  said(R"({"name": "first", "type": "dense", "from": "words", "units": 2})",
       "dense computes in f32, but \"words\" is i32[B, 5]");
  said(R"({"name": "first", "type": "embedding", "from": "y", "input_dim": 10, "output_dim": 2})",
       "embedding needs an i32 input of numbers, but its input is f32[B, 3]");
}

TEST_CASE("a number outside an embedding's table is refused with its row, and nothing is learned") {
  Session session(compiled(
      reading(R"({"name": "first", "type": "embedding", "from": "words", "input_dim": 10, "output_dim": 2})")));
  const Tensor before = session.parameter("first.embeddings");
  Tensor words(DType::i32, {2, 5}), y(DType::f32, {2, 3});
  words.data<std::int32_t>()[7] = 10;
  const std::string message = message_of([&] { session.train_step({{"words", words}, {"y", y}}); });
  CHECK(message == "input \"words\", row 1: class 10 is outside 0 … 9");
  CHECK(session.parameter("first.embeddings").bytes == before.bytes);
  words.data<std::int32_t>()[7] = 9;
  session.train_step({{"words", words}, {"y", y}});
  CHECK(session.parameter("first.embeddings").bytes != before.bytes);
}

TEST_CASE("nodes may have the names of the runtime's own numbers") {
  const std::string text = R"({"format": "weir/1", "inputs": {"seed": {"shape": [5]}, "y": {"shape": [3]}},
    "layers": [{"name": "rows", "type": "dense", "from": "seed", "units": 4},
               {"name": "step", "type": "dropout", "rate": 0.5},
               {"name": "learning_rate", "type": "dense", "units": 3}],
    "loss": {"terms": {"weight": {"type": "mean_squared_error", "at": "learning_rate", "target": {"input": "y"}},
                       "value": {"type": "value", "at": "rows"}}},
    "train": {"optimizer": {"type": "adam"}, "batch_size": 2}})";
  const std::string plain = with(with(text, "\"rows\"", "\"a\""), "\"at\": \"rows\"", "\"at\": \"a\"");
  Session named(compiled(text)), other(compiled(plain));
  other.set_parameter("a.kernel", named.parameter("rows.kernel"));
  const Tensor x = made_up({2, 5}, 1), y = made_up({2, 3}, 2);
  CHECK(named.train_step({{"seed", x}, {"y", y}}).total == other.train_step({{"seed", x}, {"y", y}}).total);
  CHECK(named.parameter("rows.kernel").bytes == other.parameter("a.kernel").bytes);
}

TEST_CASE("calls that make no sense are refused") {
  const std::string text = read_file("models/mlp.weir.json");
  CHECK(message_of([&] { compile(text, {.batch_sizes = {0}}); }).find("at least 1") != std::string::npos);
  CHECK(message_of([&] { compile(text, {.taps = {"nowhere"}}); }).find("no node \"nowhere\"") != std::string::npos);
}

TEST_CASE("a prediction runs so many rows at once as stay in the caches") {
  const std::string large = R"({
    "format": "weir/1", "name": "large", "inputs": { "x": { "shape": [128, 128, 16] } },
    "layers": [ { "name": "mixed", "type": "conv2d", "filters": 16, "kernel_size": 1 },
                { "name": "mean", "type": "global_average_pooling2d" } ],
    "loss": { "terms": { "one": { "type": "mean_squared_error", "at": "mean", "target": { "constant": 1 } } } },
    "train": { "batch_size": 32, "optimizer": { "type": "sgd" } } })";
  const auto plan = compiled(large, {});
  CHECK(plan->find(ProgramKind::evaluate, 32));
  CHECK(
      plan->find(ProgramKind::predict, 4));  // 2 MiB a row: 5 would fit into 10 MiB, but leave a slice of 2 at the end
  CHECK(plan->find(ProgramKind::predict, 32) == nullptr);
  CHECK(compiled(large, {.batch_sizes = {24}})->find(ProgramKind::predict, 4));  // not 3, which leaves as few
  CHECK(compiled(large, {.batch_sizes = {6}})->find(ProgramKind::predict, 3));
  CHECK(compiled(large, {.batch_sizes = {1}})->find(ProgramKind::predict, 1));
}

}  // namespace weir
