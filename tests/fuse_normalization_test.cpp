// A normalization together with what is added to it and the activation behind it: one step forward, one backward, the
// same bits; and whoever looks at the values in between still sees them.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/models.hpp"

namespace weir {
namespace {

/// Two residual blocks: the first adds its input, the second a convolution of it; behind them a normalization whose
/// activation is pooled.
const std::string residual = R"({
  "format": "weir/1", "inputs": { "image": { "shape": [7, 7, 3] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "stem", "type": "conv2d", "filters": 8, "kernel_size": 3, "padding": "same", "from": "image" },
    { "name": "stem_norm", "type": "batch_normalization" },
    { "name": "stem_relu", "type": "relu" },
    { "name": "a", "type": "conv2d", "filters": 8, "kernel_size": 3, "padding": "same", "use_bias": false },
    { "name": "a_norm", "type": "batch_normalization" },
    { "name": "a_add", "type": "add", "from": ["a_norm", "stem_relu"] },
    { "name": "a_relu", "type": "relu" },
    { "name": "b", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "use_bias": false },
    { "name": "b_norm", "type": "batch_normalization", "scale": false },
    { "name": "short", "type": "conv2d", "filters": 16, "kernel_size": 1, "from": "a_relu" },
    { "name": "short_norm", "type": "batch_normalization", "center": false },
    { "name": "b_add", "type": "add", "from": ["short_norm", "b_norm"] },
    { "name": "b_relu", "type": "relu" },
    { "name": "c", "type": "conv2d", "filters": 16, "kernel_size": 3, "padding": "same", "use_bias": false },
    { "name": "c_norm", "type": "batch_normalization" },
    { "name": "c_add", "type": "add", "from": ["b_relu", "c_norm"] },
    { "name": "d_norm", "type": "batch_normalization" },
    { "name": "d_relu", "type": "relu" },
    { "name": "pool", "type": "max_pooling2d", "pool_size": 2 },
    { "name": "flat", "type": "flatten" },
    { "name": "out", "type": "dense", "units": 4 } ],
  "loss": { "unreached": "allow", "terms": {
    "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
               "target": { "input": "label" } }/*more*/ } },
  "train": { "optimizer": { "type": "adam", "learning_rate": 0.02 }, "batch_size": 6/*metrics*/ }
})";

std::string with_relu6() {
  std::string text = residual;
  for (std::size_t at = 0; (at = text.find("\"relu\"", at)) != std::string::npos;) text.replace(at, 6, "\"relu6\"");
  return with(text, R"("name": "stem_norm", "type": "batch_normalization")",
              R"("name": "stem_norm", "type": "batch_normalization",
                 "gamma_initializer": { "type": "constant", "value": 8 })");
}

using Bits = std::map<std::string, std::vector<std::byte>>;

Bits trained(const std::string& text, CompileOptions options) {
  Session session(compiled(text, std::move(options)), {.seed = 3, .poison = true});
  const Tensor image = made_up({6, 7, 7, 3}, 1), label = made_up_classes(6, 4);
  for (int step = 0; step < 4; ++step) session.train_step({{"image", image}, {"label", label}});
  Bits bits;
  for (const Parameter& parameter : session.plan().parameters)
    bits[parameter.name] = session.parameter(parameter.name).bytes;
  return bits;
}

const CompileOptions apart{.without = {"fuse_normalization"}};

/// Nodes whose steps in a training program start with this kernel, in order.
std::vector<std::string> nodes_of(const std::string& text, const std::string& kernel, CompileOptions options = {}) {
  const auto plan = compiled(text, std::move(options));
  std::vector<std::string> nodes;
  for (const Step& step : plan->find(ProgramKind::train, 6)->compute)
    if (plan->recipes[static_cast<std::size_t>(step.recipe)].kernel == kernel) nodes.push_back(step.node);
  return nodes;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a normalization runs what stands behind it, and no bit differs") {
  CHECK(nodes_of(residual, "eltwise_forward", {.without = {"fuse_normalization", "fuse_post_ops"}}) ==
        Names{"stem_relu", "a_relu", "b_relu", "d_relu"});
  CHECK(nodes_of(residual, "eltwise_forward").empty());
  CHECK(nodes_of(residual, "relu_gradient", apart).size() == 4);
  CHECK(nodes_of(residual, "relu_gradient") == Names{"d_relu gradient"});  // masked behind the pooling
  CHECK(nodes_of(residual, "pointwise").size() + 3 == nodes_of(residual, "pointwise", apart).size());
  CHECK(trained(residual, {}) == trained(residual, apart));
}

TEST_CASE("relu6 behind a normalization cuts on both sides, and no bit differs") {
  const std::string text = with_relu6();
  CHECK(nodes_of(text, "eltwise_forward").empty());
  CHECK(trained(text, {}) == trained(text, apart));
  CHECK(trained(text, {}) != trained(residual, {}));
}

TEST_CASE("a normalization whose result has another reader is left alone") {
  const std::string read =
      with(residual, "/*more*/",
           R"(, "size": { "type": "mean_squared_error", "at": "a_norm", "target": { "constant": 1 } })");
  CHECK(nodes_of(read, "eltwise_forward", {.without = {"fuse_post_ops"}}) == Names{"a_relu"});
  CHECK(trained(read, {}) == trained(read, apart));
  const std::string summed =
      with(residual, "/*more*/",
           R"(, "size": { "type": "mean_squared_error", "at": "a_add", "target": { "constant": 1 } })");
  CHECK(nodes_of(summed, "eltwise_forward") == Names{"a_relu"});  // the sum goes along, its activation does not
  CHECK(trained(summed, {}) == trained(summed, apart));
}

TEST_CASE("a frozen normalization, which uses its moving statistics, is left alone") {
  const std::string frozen = with(residual, R"("name": "a_norm",)", R"("name": "a_norm", "trainable": false,)");
  CHECK(nodes_of(frozen, "batch_normalization_inference") == Names{"a_norm"});
  CHECK(trained(frozen, {}) == trained(frozen, apart));
}

TEST_CASE("terms that part ways behind a normalization are masked each for itself") {
  const std::string parted =
      with(residual, "/*more*/",
           R"(, "size": { "type": "mean_squared_error", "at": "b_relu", "target": { "constant": 1 },
                          "stop_at": ["stem_relu"], "weight": 0.3 })");
  CHECK(trained(parted, {}) == trained(parted, apart));
}

TEST_CASE("values that a fused normalization does not write are computed again for those who watch") {
  const std::string watched = with(
      with(residual, "/*more*/",
           R"(, "w": { "type": "mean_absolute_error", "at": "a_norm", "target": { "constant": 0 }, "weight": 0 })"),
      "/*metrics*/",
      R"(, "metrics": { "sum": { "type": "mean", "at": "c_add" }, "in": { "type": "mean", "at": "a_add" },
                                       "linear": { "type": "mean", "at": "d_norm" } })");
  CHECK(trained(watched, {}) == trained(residual, {}));
  const auto plan = compiled(watched), alone = compiled(residual);
  CHECK(print_steps(*plan, *plan->find(ProgramKind::train, 6), false) ==
        print_steps(*alone, *alone->find(ProgramKind::train, 6), false));
  Session fused(plan, {.seed = 3}), separate(compiled(watched, apart), {.seed = 3});
  const Tensor image = made_up({6, 7, 7, 3}, 1), label = made_up_classes(6, 4);
  const StepResult one = fused.train_step({{"image", image}, {"label", label}}),
                   other = separate.train_step({{"image", image}, {"label", label}});
  CHECK(one.terms[1].value == other.terms[1].value);
  CHECK(one.terms[1].value > 0);
  CHECK(std::equal(one.metrics.begin(), one.metrics.end(), other.metrics.begin(), other.metrics.end()));
  CHECK(one.metrics.size() == 3);
  CHECK(trained(residual, {.taps = {"a_norm", "a_add", "stem_norm"}}) == trained(residual, {}));
}

}  // namespace weir
