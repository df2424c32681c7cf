// A convolution of an enlarged image, computed from the small one: the same numbers in double precision, forward and in
// every gradient; the same within rounding when compiled; and never where a term's gradient ends in between.
#include <doctest/doctest.h>

#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/onednn/host_target.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/run_recipe.hpp"

namespace weir {
namespace {

/// 4 × 6 small images of 8 channels, enlarged to 8 × 12 and convolved.
std::string decoder(const std::string& between, const std::string& convolution, const std::string& cut = "") {
  return R"({ "format": "weir/1", "inputs": { "image": { "shape": [8, 12, 2] }, "goal": { "shape": [8, 12, 16] } },
  "layers": [
    { "name": "skip", "type": "conv2d", "filters": 3, "kernel_size": 1, "activation": "tanh", "from": "image" },
    { "name": "small", "type": "conv2d", "filters": 8, "kernel_size": 2, "strides": 2, "from": "image" },
    )" + between +
         R"(, { "name": "wide", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same")" + convolution +
         R"( } ],
  "loss": { "terms": { "final": { "type": "mean_squared_error", "at": "wide", "target": { "input": "goal" })" +
         cut + R"( } } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.1 }, "batch_size": 3 } })";
}

const std::string up = R"({ "name": "up", "type": "up_sampling2d", "size": 2, "from": "small" })";
std::string joined(const std::string& order) {
  return up + R"(, { "name": "join", "type": "concatenate", "from": [)" + order + "] }";
}

struct Case {
  const char* name;
  std::string text;
};
const Case replaced[] = {
    {"alone", decoder(up, "")},
    {"behind another image", decoder(joined(R"("skip", "up")"), R"(, "activation": "relu")")},
    {"before another image", decoder(joined(R"("up", "skip")"), R"(, "activation": "tanh")")},
    {"without bias", decoder(joined(R"("skip", "up")"), R"(, "use_bias": false)")},
    {"sigmoid, explicit padding",
     with(decoder(up, R"(, "activation": "sigmoid")"), R"("padding": "same")", R"("padding": [[1, 1], [1, 1]])")},
    {"twice the same image", decoder(joined(R"("up", "up")"), "")},
    {"the enlarged image has another reader",
     with(decoder(joined(R"("skip", "up")"), ""), R"("final": {)",
          R"("early": { "type": "mean_absolute_error", "at": "up", "target": { "constant": 0.3 } }, "final": {)")},
    {"frozen", decoder(up, R"(, "trainable": false)")},
};

TrainingGraph graph_of(const std::string& text, bool replace) {
  Diagnostics diagnostics("model", text);
  const Spec spec = parse_spec(text, "model", diagnostics);
  TrainingGraph training = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE_FALSE(diagnostics.has_errors());
  if (replace) training = replace_layers(std::move(training));
  verify(training);
  return prune(differentiate(std::move(training)));
}

bool is_replaced(const std::string& text) {
  for (const Node& node : graph_of(text, true).graph.nodes)
    if (node.name == "wide" && node.op->name == "enlarged_conv2d") return true;
  return false;
}

Interpreter interpreted(const std::string& text, bool replace) {
  Interpreter run(graph_of(text, replace), 3);
  const Graph& graph = run.training().graph;
  int salt = 0;
  for (const char* name :
       {"image", "goal", "skip.kernel", "skip.bias", "small.kernel", "small.bias", "wide.kernel", "wide.bias"}) {
    if (graph.find(name) == none) continue;
    Array values(full_dims(graph.at(graph.find(name)).type, 3));
    const test::Values numbers = test::numbers(values.count(), ++salt);
    std::copy(numbers.begin(), numbers.end(), values.data.begin());
    run.set(name, std::move(values));
  }
  run.compute();
  return run;
}

double difference(const Array& a, const Array& b) {
  double most = 0, largest = 1e-30;
  for (std::int64_t i = 0; i < a.count(); ++i) {
    most = std::max(most, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return most / largest;
}

/// Losses of some steps, then the parameters.
std::vector<float> trained(const std::string& text, CompileOptions options, const Target* target = nullptr) {
  Session session(compiled(text, std::move(options), target), {.seed = 3, .poison = true});
  const Tensor image = made_up({3, 8, 12, 2}, 1), goal = made_up({3, 8, 12, 16}, 2);
  std::vector<float> values;
  for (int step = 0; step < 3; ++step)
    values.push_back(static_cast<float>(session.train_step({{"image", image}, {"goal", goal}}).total));
  for (const char* name : {"small.kernel", "wide.kernel"}) {
    const Tensor parameter = session.parameter(name);
    values.insert(values.end(), parameter.data<float>(), parameter.data<float>() + parameter.count());
  }
  return values;
}

}  // namespace

TEST_CASE("a convolution of an enlarged image and its gradients are what they were, in double precision") {
  for (const Case& one : replaced) {
    INFO(one.name);
    CHECK(is_replaced(one.text));
    const Interpreter plain = interpreted(one.text, false), small = interpreted(one.text, true);
    CHECK(small.total() == doctest::Approx(plain.total()).epsilon(1e-12));
    CHECK(small.training().gradients.size() == plain.training().gradients.size());
    for (const auto& [parameter, gradient] : plain.training().gradients) {
      const std::string& name = plain.training().graph.at(parameter).name;
      CHECK_MESSAGE(difference(small.gradient(name), plain.gradient(name)) < 1e-12, name);
    }
  }
}

TEST_CASE("a compiled convolution of an enlarged image trains as it does without the replacement, in every layout") {
  for (const Case& one : replaced) {
    INFO(one.name);
    const std::vector<float> plain = trained(one.text, {.without = {"replace_layers"}});
    for (const ActivationLayout layout :
         {ActivationLayout::nhwc, ActivationLayout::blocked_8, ActivationLayout::blocked_16}) {
      const auto target = host_target(2, layout);
      CHECK(test::difference(trained(one.text, {}, target.get()), {plain.begin(), plain.end()}) < 2e-5);
    }
    CHECK(test::difference(trained(one.text, {}, fixed_target(1).get()), {plain.begin(), plain.end()}) < 2e-5);
  }
}

TEST_CASE("the enlarged image is not made, and what is watched of it is still there") {
  const std::string text = decoder(joined(R"("skip", "up")"), R"(, "activation": "relu")");
  const auto made = [](const Plan& plan, ProgramKind kind, const std::string& node) {
    const std::vector<Step>& steps = plan.find(kind, 3)->compute;
    return std::any_of(steps.begin(), steps.end(), [&](const Step& step) { return step.node == node; });
  };
  CHECK_FALSE(made(*compiled(text), ProgramKind::train, "up"));
  CHECK_FALSE(made(*compiled(text), ProgramKind::predict, "join"));
  const auto watched = compiled(text, {.taps = {"join", "wide"}});
  Session session(watched, {.seed = 3}),
      plain(compiled(text, {.taps = {"join", "wide"}, .without = {"replace_layers"}}), {.seed = 3});
  const Tensor image = made_up({3, 8, 12, 2}, 1);
  const Feed feed{{"image", image}};
  const auto small = session.predict(feed), large = plain.predict(feed);
  for (const char* name : {"join", "wide"}) {
    const Tensor &one = small.at(name), &other = large.at(name);
    for (std::int64_t i = 0; i < one.count(); ++i)
      CHECK(one.data<float>()[i] == doctest::Approx(other.data<float>()[i]).epsilon(1e-5));
  }
}

TEST_CASE("other convolutions stay: those a gradient ends before, and those with nothing to gain") {
  const std::string text = decoder(joined(R"("skip", "up")"), "");
  CHECK(is_replaced(text));
  CHECK_FALSE(is_replaced(decoder(joined(R"("skip", "up")"), "", R"(, "stop_at": ["up"])")));
  CHECK_FALSE(is_replaced(decoder(joined(R"("skip", "up")"), "", R"(, "stop_at": ["join"])")));
  CHECK(is_replaced(decoder(joined(R"("skip", "up")"), "", R"(, "stop_at": ["small"])")));
  CHECK_FALSE(is_replaced(with(text, R"("size": 2)", R"("size": 2, "interpolation": "bilinear")")));
  CHECK_FALSE(is_replaced(decoder(up, R"(, "dilation_rate": 2)")));
  CHECK_FALSE(is_replaced(with(decoder(up, R"(, "strides": 2)"), "[8, 12, 16]", "[4, 6, 16]")));
  CHECK_FALSE(is_replaced(with(decoder(up, ""), R"("kernel_size": 3)", R"("kernel_size": 5)")));
  CHECK_FALSE(is_replaced(with(text, R"("filters": 8)", R"("filters": 3)")));
  CHECK_FALSE(is_replaced(decoder(joined(R"("skip", "up", "skip")"), "")));
}

TEST_CASE("phases come apart and together again in every layout, and what is left of them is zero") {
  using namespace test;
  for (const char* layout : {"nhwc", "nChw8c", "nChw16c"}) {
    INFO(layout);
    const Dims large{2, 6, 4, 16}, small{2, 4, 3, 64};
    const Values image = numbers(element_count(large)), rest = numbers(element_count(large), 1);
    Run split({"split_phases", {read("src", large, "nhwc", layout), write("dst", small, "nhwc", layout)}});
    const Values phases = split.set("src", image).run().get("dst");
    double sum = 0, expected = 0;
    for (float value : phases) sum += static_cast<double>(value);
    for (float value : image) expected += static_cast<double>(value);
    CHECK(sum == doctest::Approx(expected));
    Recipe recipe{"join_phases",
                  {read("phases", small, "nhwc", layout), read("rest", large, "nhwc", layout), read("bias", {16}, "o"),
                   write("dst", large, "nhwc", layout)}};
    recipe.attributes.set("relu", true);
    Run join(recipe);
    const Values bias = numbers(16, 2);
    join.set("phases", phases).set("rest", rest).set("bias", bias);
    std::vector<double> sums;
    for (std::size_t i = 0; i < image.size(); ++i)
      sums.push_back(std::max(0.0, double{image[i]} + double{rest[i]} + double{bias[i % 16]}));
    CHECK(test::difference(join.run().get("dst"), sums) < 1e-6);
    CHECK(test::difference(join.overlay("dst", "rest").set("rest", rest).run().get("dst"), sums) < 1e-6);
  }
}

TEST_CASE("recipes of phases that do not hold together are refused") {
  using namespace test;
  const auto refusal = [](const Recipe& recipe) { return message_of([&] { validate_recipe(recipe); }); };
  const auto split = [&](Dims large, Dims small, const char* layout = "nhwc") {
    return refusal({"split_phases", {read("src", large, "nhwc", layout), write("dst", small, "nhwc", layout)}});
  };
  const std::string extents = "phases must have half the height and width of the image";
  CHECK(split({1, 4, 4, 8}, {1, 3, 3, 32}) == "(nothing was thrown)");
  CHECK(split({1, 5, 4, 8}, {1, 3, 3, 32}).find(extents) != std::string::npos);
  CHECK(split({1, 4, 4, 8}, {1, 3, 2, 32}).find(extents) != std::string::npos);
  CHECK(split({1, 4, 4, 8}, {1, 3, 3, 16}).find(extents) != std::string::npos);
  CHECK(split({1, 4, 4, 4}, {1, 3, 3, 16}, "nChw8c").find("whole blocks") != std::string::npos);
  CHECK(split({1, 4, 4, 8}, {1, 3, 3, 32}, "nchw").find("images must be") != std::string::npos);
  Recipe kernel{"phase_kernel",
                {read("kernel", {3, 3, 5, 2}, "hwio"), write("phases", {2, 2, 3, 8}, "hwio"),
                 write("rest", {3, 3, 2, 2}, "hwio")}};
  kernel.attributes.set("small_first", true);
  CHECK(refusal(kernel) == "(nothing was thrown)");
  kernel.operands[2].shape.dims[2] = 1;
  CHECK(refusal(kernel).find("rest must be the kernel's channels") != std::string::npos);
  kernel.operands[0].shape.dims[0] = 2;
  CHECK(refusal(kernel).find("the kernel must be 3 by 3") != std::string::npos);
  Recipe gradient{
      "phase_kernel_gradient",
      {read("phases", {2, 2, 3, 8}, "hwio"), write("kernel", {3, 3, 3, 2}, "hwio"), write("bias", {2}, "o")}};
  gradient.attributes.set("small_first", true);
  CHECK(refusal(gradient).find("bias and phase_bias come together") != std::string::npos);
  gradient.operands.push_back(read("phase_bias", {7}, "o"));
  CHECK(refusal(gradient).find("phase_bias four") != std::string::npos);
}

}  // namespace weir
