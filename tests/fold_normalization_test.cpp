// A batch normalization folded into the weights before it: the same predictions but for rounding, fewer steps, made
// anew where parameters change, and never where something else reads what stands between.
#include <cmath>

#include <doctest/doctest.h>

#include "runtime/kernel.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const std::string model = R"({
  "format": "weir/1", "name": "normalized",
  "inputs": { "image": { "shape": [7, 6, 3] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "from": "image" },
    { "name": "norm_1", "type": "batch_normalization", "gamma_initializer": "random_normal" },
    { "name": "relu_1", "type": "relu" },
    { "name": "deep", "type": "depthwise_conv2d", "kernel_size": 3, "depth_multiplier": 2, "use_bias": false },
    { "name": "norm_2", "type": "batch_normalization", "scale": false },
    { "name": "grouped", "type": "conv2d", "filters": 8, "kernel_size": 1, "groups": 4, "use_bias": false },
    { "name": "norm_3", "type": "batch_normalization", "center": false },
    { "name": "flat", "type": "flatten" },
    { "name": "hidden", "type": "dense", "units": 5 },
    { "name": "norm_4", "type": "batch_normalization", "activation": "tanh" },
    { "name": "out", "type": "dense", "units": 4, "activation": "softmax" } ],
  "loss": { "terms": { "final": { "type": "sparse_categorical_crossentropy", "at": "out",
                                  "target": { "input": "label" } } } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.1 }, "batch_size": 6 }
})";
const std::string plain = with(model, R"(, "activation": "tanh" },
    { "name": "out")",
                               R"( },
    { "name": "out")");

struct Fixture {
  explicit Fixture(CompileOptions options, const std::string& text = plain)
      : session(compiled(text, std::move(options)), {.seed = 3, .poison = true}) {}
  Feed feed() const { return {{"image", image}, {"label", label}}; }
  Tensor predict() { return session.predict({{"image", image}}).begin()->second; }
  std::size_t steps(ProgramKind kind) const { return session.plan().find(kind, 6)->compute.size(); }
  std::size_t normalizations() const {
    std::size_t count = 0;
    for (const Step& step : session.plan().find(ProgramKind::predict, 6)->compute)
      count += session.plan().recipes[static_cast<std::size_t>(step.recipe)].kernel == "batch_normalization_inference";
    return count;
  }

  Session session;
  Tensor image = made_up({6, 7, 6, 3}, 1), label = made_up_classes(6, 4);
};

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims == b.dims);
  double most = 0;
  for (std::int64_t i = 0; i < a.count(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a.data<float>()[i]) - static_cast<double>(b.data<float>()[i])));
  return most;
}

}  // namespace

TEST_CASE("predictions are those of the unfolded model, also after training moved what was folded") {
  Fixture folded({}), unfolded({.without = {"fold_normalization"}});
  CHECK(folded.normalizations() == 0);
  CHECK(unfolded.normalizations() == 4);
  CHECK(folded.steps(ProgramKind::train) == unfolded.steps(ProgramKind::train));
  for (int round = 0; round < 3; ++round) {
    const Tensor expected = unfolded.predict();
    CHECK(difference(folded.predict(), expected) <= 1e-5);
    CHECK(difference(folded.predict(), expected) <= 1e-5);  // without a refresh between
    CHECK(folded.session.evaluate(folded.feed()).total ==
          doctest::Approx(unfolded.session.evaluate(unfolded.feed()).total).epsilon(1e-5));
    const Tensor before = folded.predict();
    folded.session.train_step(folded.feed());
    unfolded.session.train_step(unfolded.feed());
    CHECK(difference(folded.predict(), before) > 1e-4);
  }
  for (const Parameter& parameter : folded.session.plan().parameters)
    CHECK(folded.session.parameter(parameter.name).bytes == unfolded.session.parameter(parameter.name).bytes);
}

TEST_CASE("a statistic that the host sets is folded anew, and fewer rows than the batch are right too") {
  Fixture folded({}), unfolded({.without = {"fold_normalization"}});
  for (Fixture* m : {&folded, &unfolded}) {
    m->predict();
    Tensor variance(DType::f32, {16});
    for (int i = 0; i < 16; ++i) variance.data<float>()[i] = 0.25f * static_cast<float>(i + 1);
    m->session.set_parameter("norm_1.moving_variance", variance);
    m->image = made_up({2, 7, 6, 3}, 5);
  }
  CHECK(difference(folded.predict(), unfolded.predict()) <= 1e-5);
}

TEST_CASE("what stands between is not folded away where something reads it") {
  Fixture tapped({.taps = {"conv", "out"}});
  CHECK(tapped.normalizations() == 1);
  const std::string twice =
      with(plain, R"("type": "dense", "units": 4,)", R"("type": "dense", "units": 4, "from": "joined",)");
  const std::string joined = with(twice, R"(    { "name": "out")",
                                  R"(    { "name": "joined", "type": "add", "from": ["hidden", "norm_4"] },
    { "name": "out")");
  CHECK(Fixture({}, joined).normalizations() == 1);
}

TEST_CASE("recipes of a folding that do not hold together are refused") {
  const auto plan = compiled(plain);
  const auto refusal = [&](auto&& change) {
    for (const Recipe& recipe : plan->recipes)
      if (recipe.kernel == "fold_normalization") {
        Recipe wrong = recipe;
        validate_recipe(wrong);
        change(wrong);
        return message_of([&] { validate_recipe(wrong); });
      }
    FAIL("no folding");
    return std::string();
  };
  const auto resize = [](Recipe& recipe, std::string_view role, const Dims& dims) {
    for (RecipeOperand& operand : recipe.operands)
      if (operand.role == role) operand.shape.dims = dims;
  };
  CHECK(refusal([&](Recipe& r) { resize(r, "mean", {17}); }).find("mean must be one number a channel") !=
        std::string::npos);
  CHECK(refusal([&](Recipe& r) { resize(r, "folded", {27, 17}); }) != "");
  CHECK(refusal([](Recipe& r) { r.attributes.set("epsilon", -1.0); }).find("epsilon") != std::string::npos);
  CHECK(refusal([](Recipe& r) { r.attributes.set("more", 1.0); }).find("more") != std::string::npos);
  CHECK(refusal([](Recipe& r) { r.operands.pop_back(); }) != "");
}

}  // namespace weir
