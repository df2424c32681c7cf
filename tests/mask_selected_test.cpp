// The gradient of a relu in front of a max pooling, taken of what was pooled: the same bits, less work.
#include <doctest/doctest.h>

#include "tests/models.hpp"

namespace weir {
namespace {

const std::string pooled = R"({
  "format": "weir/1", "inputs": { "image": { "shape": [9, 9, 3] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "conv", "type": "conv2d", "filters": 16, "kernel_size": 3, "activation": "relu", "from": "image" },
    { "name": "pool", "type": "max_pooling2d", "pool_size": 3, "strides": 2, "padding": "same" },
    { "name": "flat", "type": "flatten" },
    { "name": "out", "type": "dense", "units": 4 } ],
  "loss": { "terms": {
    "final": { "type": "sparse_categorical_crossentropy", "at": "out", "from_logits": true,
               "target": { "input": "label" } }/*more*/ } },
  "train": { "optimizer": { "type": "sgd", "learning_rate": 0.1 }, "batch_size": 6 }
})";

std::vector<std::vector<std::byte>> trained(const std::string& text, CompileOptions options) {
  Session session(compiled(text, std::move(options)), {.seed = 3, .poison = true});
  const Tensor image = made_up({6, 9, 9, 3}, 1), label = made_up_classes(6, 4);
  std::vector<std::vector<std::byte>> values;
  for (int step = 0; step < 3; ++step) session.train_step({{"image", image}, {"label", label}});
  for (const char* name : {"conv.kernel", "conv.bias", "out.kernel"}) {
    values.push_back(session.gradient(name).bytes);
    values.push_back(session.parameter(name).bytes);
  }
  return values;
}

/// How many entries the gradient of conv's activation is taken of.
std::int64_t masked_entries(const std::string& text, CompileOptions options) {
  const auto plan = compiled(text, std::move(options));
  for (const Step& step : plan->find(ProgramKind::train, 6)->compute)
    if (step.node == "conv gradient")
      return element_count(plan->recipes[static_cast<std::size_t>(step.recipe)].operands.front().shape.dims);
  return 0;
}

std::uint64_t lower_bound_of(CompileOptions options) {
  return compiled(pooled, std::move(options))->find(ProgramKind::train, 6)->lower_bound;
}

}  // namespace

TEST_CASE("the mask of a relu goes before the gradient of max pooling, and no bit differs") {
  CHECK(masked_entries(pooled, {}) == 6 * 4 * 4 * 16);
  CHECK(masked_entries(pooled, {.without = {"mask_selected"}}) == 6 * 7 * 7 * 16);
  CHECK(trained(pooled, {}) == trained(pooled, {.without = {"mask_selected"}}));
  const std::string relu6 = with(pooled, R"("relu")", R"("relu6")");
  CHECK(masked_entries(relu6, {}) == 6 * 4 * 4 * 16);
  CHECK(trained(relu6, {}) == trained(relu6, {.without = {"mask_selected"}}));
}

TEST_CASE("what was pooled from is not kept for the gradient") {
  CHECK(lower_bound_of({}) < lower_bound_of({.without = {"mask_selected"}}));
}

TEST_CASE("a mask stays where another term sends a gradient past the pooling, or the pooling averages") {
  const std::string both = with(
      pooled, "/*more*/", R"(, "size": { "type": "mean_squared_error", "at": "conv", "target": { "constant": 0 } })");
  CHECK(masked_entries(both, {}) == 6 * 7 * 7 * 16);
  const std::string average = with(pooled, "max_pooling2d", "average_pooling2d");
  CHECK(masked_entries(average, {}) == 6 * 7 * 7 * 16);
}

}  // namespace weir
