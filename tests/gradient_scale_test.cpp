// The layer gradient_scale: values pass as they are, gradients times a number or a schedule.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "compiler/ir/op.hpp"
#include "compiler/verify.hpp"
#include "runtime/kernel.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const std::string model = R"({
  "format": "weir/1", "name": "scaled",
  "inputs": { "image": { "shape": [6, 6, 3] } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu" },
    { "name": "turn", "type": "gradient_scale", "scale": %SCALE% },
    { "name": "top", "type": "conv2d", "filters": 4, "kernel_size": 3 }
  ],
  "loss": { "terms": { "small": { "type": "mean_squared_error", "at": "top", "target": { "constant": 1 } } } },
  "train": { "batch_size": 3, "optimizer": { "type": "sgd", "learning_rate": 0.1 } }
})";

std::string scaled(const std::string& scale) { return with(model, "%SCALE%", scale); }

struct Gradients {
  Tensor below, above;
  double total;
};

Gradients gradients(Session& session) {
  const Tensor image = made_up({3, 6, 6, 3}, 1);
  const double total = session.gradient_step({{"image", image}}).total;
  return {session.gradient("conv.kernel"), session.gradient("top.kernel"), total};
}
Gradients gradients(const std::string& scale) {
  Session session(compiled(scaled(scale)), {.seed = 2, .poison = true});
  return gradients(session);
}

void check_scaled(const Tensor& found, const Tensor& plain, float scale) {
  REQUIRE(found.count() == plain.count());
  float largest = 0;
  for (std::int64_t i = 0; i < plain.count(); ++i) largest = std::max(largest, std::abs(plain.data<float>()[i]));
  REQUIRE(largest > 0);
  for (std::int64_t i = 0; i < plain.count(); ++i)
    CHECK(std::abs(found.data<float>()[i] - scale * plain.data<float>()[i]) <= 1e-5f * largest * std::abs(scale));
}

}  // namespace

TEST_CASE("what is before the layer gets the gradient times the scale, what is behind it the same bits") {
  const Gradients plain = gradients("1");
  for (float scale : {0.5f, -1.0f, -0.25f, 0.0f, 3.0f}) {
    CAPTURE(scale);
    const Gradients found = gradients(shortest(static_cast<double>(scale)));
    CHECK(found.total == plain.total);
    CHECK(found.above.bytes == plain.above.bytes);
    check_scaled(found.below, plain.below, scale);
  }
}

TEST_CASE("the layer is no step in any program, and brings no reorder") {
  const std::string without =
      with(with(scaled("-1"), R"({ "name": "turn", "type": "gradient_scale", "scale": -1 },)", ""), R"("filters": 4)",
           R"("filters": 4)");
  const auto with_layer = compiled(scaled("-1"), {.taps = {"top"}}), plain = compiled(without, {.taps = {"top"}});
  REQUIRE(with_layer->programs.size() == plain->programs.size());
  for (std::size_t i = 0; i < plain->programs.size(); ++i) {
    const bool trains = plain->programs[i].kind == ProgramKind::train;
    CHECK(with_layer->programs[i].compute.size() == plain->programs[i].compute.size() + (trains ? 1 : 0));
  }
}

TEST_CASE("a scheduled scale is a scalar of the plan and changes from step to step") {
  const auto plan = compiled(scaled(R"({ "type": "linear", "from": 0, "to": -1, "length": 2 })"));
  CHECK(plan->scalar("scale.turn") >= 0);
  CHECK(plan_from_json(plan_to_json(*plan)) == *plan);
  const Gradients plain = gradients("1");
  Session session(plan, {.seed = 2, .poison = true});
  for (int done = 0; done < 4; ++done) {
    CAPTURE(done);
    session.set_steps(static_cast<std::uint64_t>(done));
    check_scaled(gradients(session).below, plain.below, -std::min(1.0f, static_cast<float>(done) / 2));
  }
}

TEST_CASE("verify takes the scaled gradient for right, and no other") {
  VerifyOptions options;
  options.threads = 1;
  for (const char* scale : {"-0.5", "0", R"({ "type": "linear", "from": -2, "to": 1, "length": 10 })"}) {
    CAPTURE(std::string(scale));
    Diagnostics diagnostics;
    VerifySubjects subjects = prepare_verify(scaled(scale), options, diagnostics);
    REQUIRE(!diagnostics.has_errors());
    const VerifyReport report = verify_gradients(subjects, options);
    CHECK(report.problems() == std::vector<std::string>{});
  }
  Diagnostics diagnostics;
  VerifySubjects subjects = prepare_verify(scaled("-0.5"), options, diagnostics);
  for (VerifySubject* subject : {&subjects.whole, &subjects.terms[0].second})
    for (Node& node : subject->training.graph.nodes)
      if (node.op->name == "gradient_scale") node.attributes.set("scale", 0.5);
  CHECK_FALSE(verify_gradients(subjects, options).holds());
}

TEST_CASE("a layer with a schedule may be named so that its scalar has the name of a parameter") {
  const std::string text = with(with(with(scaled(R"({ "type": "linear", "from": 0, "to": 1, "length": 2 })"),
                                          R"("name": "turn")", R"("name": "kernel")"),
                                     R"("name": "top")", R"("name": "scale")"),
                                R"("at": "top")", R"("at": "scale")");
  const auto plan = compiled(text);
  CHECK(plan->scalar("scale.kernel") >= 0);
  Session session(plan, {.seed = 2});
  CHECK(session.parameter("scale.kernel").dims == Dims{3, 3, 16, 4});
}

TEST_CASE("an i32 input has no gradient to scale") {
  const std::string text = R"({ "format": "weir/1", "inputs": { "c": { "shape": [3], "dtype": "i32" } },
    "layers": [ { "name": "turn", "type": "gradient_scale", "from": "c", "scale": 1 } ] })";
  CHECK(compile(text, {.threads = 1}).diagnostics.to_text().find("computes in f32") != std::string::npos);
}

TEST_CASE("the kernel writes zeros at 0, whatever it reads, and refuses recipes that do not hold together") {
  const auto plan = compiled(scaled("0"));
  const auto found = std::find_if(plan->recipes.begin(), plan->recipes.end(),
                                  [](const Recipe& recipe) { return recipe.kernel == "scale"; });
  REQUIRE(found != plan->recipes.end());
  const Recipe recipe = *found;
  std::vector<float> src(static_cast<std::size_t>(physical_count(recipe.operand("src").shape)), INFINITY);
  std::vector<float> dst(src.size(), 7);
  void* buffers[] = {src.data(), dst.data()};
  make_executable(recipe, buffers)->run();
  CHECK(std::all_of(dst.begin(), dst.end(), [](float value) { return value == 0; }));
  const auto refusal = [&](auto&& change) {
    Recipe wrong = recipe;
    change(wrong);
    return message_of([&] { validate_recipe(wrong); });
  };
  const std::string accepted = "(nothing was thrown)";
  CHECK(refusal([](Recipe&) {}) == accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.erase("scale"); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.set("scale", std::nan("")); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.set("more", 1.0); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.operands[1].shape.dims[0] = 1; }) != accepted);
  CHECK(refusal([](Recipe& r) { r.operands.push_back({"scale", Access::read, DType::f64, {}}); }) != accepted);
}

}  // namespace weir
