// Closing open recipes: on this machine and on the fixed target.
#include <thread>

#include "runtime/error.hpp"
#include "runtime/onednn/cpus.hpp"
#include "runtime/onednn/host_target.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

using Integers = std::vector<std::int64_t>;

Attributes geometry() {
  return {{"strides", Integers{1, 1}},
          {"dilation", Integers{1, 1}},
          {"padding", Integers{1, 1, 1, 1}},
          {"groups", std::int64_t{1}}};
}

Attributes pooling() {
  return {
      {"algorithm", "max"}, {"window", Integers{2, 2}}, {"strides", Integers{2, 2}}, {"padding", Integers{0, 0, 0, 0}}};
}

/// A convolution's two images share one layout: mixed ones have only reference implementations.
std::string common_layout(const Target& target, const Dims& one, const Dims& other) {
  const std::string layout = target.activation_layout(one, "nhwc");
  return layout == "nhwc" ? layout : target.activation_layout(other, "nhwc");
}

/// What the network of the seed model runs in training, layer by layer.
std::vector<Recipe> seed_recipes(const Target& target, std::int64_t batch) {
  std::vector<Recipe> recipes;
  const int threads = target.threads();
  std::int64_t size = 28, channels = 1;
  for (std::int64_t filters : {32, 64, 128}) {
    const Dims in{batch, size, size, channels}, out{batch, size, size, filters},
        pooled{batch, size / 2, size / 2, filters}, kernel{3, 3, channels, filters};
    const std::string layout = common_layout(target, in, out);
    Attributes with_relu = geometry();
    with_relu.set("post_op", "relu");
    recipes.push_back({"convolution_forward",
                       {read("src", in, "nhwc", layout), read("weights", kernel, "hwio", "any"),
                        read("bias", {filters}, "o"), write("dst", out, "nhwc", layout)},
                       with_relu,
                       threads});
    recipes.push_back({"convolution_backward_weights",
                       {read("src", in, "nhwc", layout), read("diff_dst", out, "nhwc", layout),
                        write("diff_weights", kernel, "hwio", "any"), write("diff_bias", {filters}, "o")},
                       geometry(),
                       threads});
    if (channels > 1)
      recipes.push_back({"convolution_backward_data",
                         {read("diff_dst", out, "nhwc", layout), read("weights", kernel, "hwio", "any"),
                          write("diff_src", in, "nhwc", layout)},
                         geometry(),
                         threads});
    RecipeOperand workspace = tensor("workspace", Access::write, pooled, "nhwc", layout, DType::u8);
    recipes.push_back({"pooling_forward",
                       {read("src", out, "nhwc", layout), write("dst", pooled, "nhwc", layout), workspace},
                       pooling(),
                       threads});
    workspace.access = Access::read;
    recipes.push_back({"pooling_backward",
                       {read("diff_dst", pooled, "nhwc", layout), workspace, write("diff_src", out, "nhwc", layout)},
                       pooling(),
                       threads});
    size /= 2;
    channels = filters;
  }
  for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{1152, 256}, {256, 10}}) {
    const Dims x{batch, in}, y{batch, out}, kernel{in, out};
    recipes.push_back(
        {"inner_product_forward",
         {read("src", x, "nc"), read("weights", kernel, "io", "any"), read("bias", {out}, "o"), write("dst", y, "nc")},
         {{"post_op", "relu"}},
         threads});
    recipes.push_back({"inner_product_backward_data",
                       {read("diff_dst", y, "nc"), read("weights", kernel, "io", "any"), write("diff_src", x, "nc")},
                       {},
                       threads});
    recipes.push_back({"inner_product_backward_weights",
                       {read("src", x, "nc"), read("diff_dst", y, "nc"), write("diff_weights", kernel, "io", "any"),
                        write("diff_bias", {out}, "o")},
                       {},
                       threads});
  }
  recipes.push_back(
      {"softmax_forward", {read("src", {batch, 10}, "nc"), write("dst", {batch, 10}, "nc")}, {}, threads});
  return recipes;
}

bool is_closed(const Recipe& recipe) {
  for (const RecipeOperand& operand : recipe.operands)
    if (operand.shape.layout == "any") return false;
  return true;
}

}  // namespace

TEST_CASE("no batch size from 1 to 32 of the seed network closes to a reference implementation") {
  for (int threads : {1, 2})
    for (const ActivationLayout layout : {ActivationLayout::by_machine, ActivationLayout::nhwc}) {
      const auto target = host_target(threads, layout);
      for (std::int64_t batch = 1; batch <= 32; ++batch)
        for (const Recipe& open : seed_recipes(*target, batch)) {
          const Recipe closed = target->close(open);
          CHECK_MESSAGE(!target->implementation(closed).starts_with("ref"), to_string(closed));
        }
    }
}

TEST_CASE("a closed recipe is valid, closes to itself and names its implementation") {
  for (const auto layout : {ActivationLayout::by_machine, ActivationLayout::nhwc, ActivationLayout::blocked_8,
                            ActivationLayout::blocked_16}) {
    const auto target = host_target(2, layout);
    for (const Recipe& open : seed_recipes(*target, 5)) {
      const Recipe closed = target->close(open);
      CHECK(is_closed(closed));
      validate_recipe(closed);
      CHECK(!target->implementation(closed).empty());
      CHECK(target->close(open) == closed);
      Recipe again = closed;
      std::erase_if(again.operands, [](const RecipeOperand& operand) { return operand.role == "scratch"; });
      CHECK_MESSAGE(target->close(again) == closed, to_string(closed));
    }
  }
}

TEST_CASE("several threads may ask one target at a time") {
  const auto target = host_target(2);
  const auto close_all = [&] {
    std::vector<Recipe> closed;
    for (const Recipe& open : seed_recipes(*target, 7)) closed.push_back(target->close(open));
    return closed;
  };
  const std::vector<Recipe> expected = close_all();
  std::vector<std::vector<Recipe>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&] { result = close_all(); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result == expected);
}

TEST_CASE("scratch is asked for where the library wants it, in bytes") {
  const auto target = host_target(1, ActivationLayout::nhwc);
  std::size_t with_scratch = 0;
  for (const Recipe& open : seed_recipes(*target, 8)) {
    const Recipe closed = target->close(open);
    const RecipeOperand* scratch = closed.find("scratch");
    if (!scratch) continue;
    ++with_scratch;
    CHECK(scratch == &closed.operands.back());
    CHECK(scratch->dtype == DType::u8);
    CHECK(scratch->access == Access::write);
    CHECK(scratch->shape.axes == "x");
    Recipe small = closed;
    --small.operands.back().shape.dims[0];
    CHECK_THROWS_AS(validate_recipe(small), Error);
  }
  CHECK(with_scratch > 0);
}

TEST_CASE("a primitive whose recipe has no scratch brings its own and gives the same bits") {
  const auto target = host_target(2);
  const std::int64_t batch = 6;
  int primitives = 0;
  for (const Recipe& open : seed_recipes(*target, batch)) {
    const Recipe closed = target->close(open);
    if (!closed.find("scratch") || find_kernel(closed.kernel)) continue;
    ++primitives;
    Recipe without = closed;
    without.operands.pop_back();
    const auto results = [](const Recipe& recipe) {
      Run run(recipe);
      for (int salt = 0; const RecipeOperand& operand : recipe.operands)
        if (operand.access == Access::read) run.set(operand.role, numbers(element_count(operand.shape.dims), ++salt));
      run.run();
      std::vector<Values> values;
      for (const RecipeOperand& operand : recipe.operands)
        if (operand.access == Access::write && operand.role != "scratch") values.push_back(run.get(operand.role));
      return values;
    };
    CHECK_MESSAGE(results(closed) == results(without), to_string(closed));
  }
  CHECK(primitives > 0);
}

TEST_CASE("the fixed target closes to canonical layouts without scratch, and what it closes runs") {
  const auto target = fixed_target(1);
  for (const Recipe& open : seed_recipes(*target, 3)) {
    const Recipe closed = target->close(open);
    for (const RecipeOperand& operand : closed.operands) CHECK(operand.shape.layout == operand.shape.axes);
    CHECK(closed.find("scratch") == nullptr);
    validate_recipe(closed);
  }
  CHECK(target->activation_layout({1, 2, 2, 16}, "nhwc") == "nhwc");
  CHECK(target->fingerprint() == fixed_target(1)->fingerprint());
}

TEST_CASE("the fixed target knows the type of a pooling workspace") {
  const auto target = fixed_target(1);
  for (const auto& [window, type] : {std::pair<std::int64_t, DType>{15, DType::u8}, {16, DType::i32}}) {
    const Dims in{2, window, window, 3}, out{2, 1, 1, 3};
    const Recipe closed = target->close({"pooling_forward",
                                         {read("src", in, "nhwc"), write("dst", out, "nhwc"),
                                          tensor("workspace", Access::write, {}, "", "any", DType::u8)},
                                         {{"algorithm", "max"},
                                          {"window", Integers{window, window}},
                                          {"strides", Integers{1, 1}},
                                          {"padding", Integers{0, 0, 0, 0}}},
                                         1});
    CHECK(closed.operand("workspace").dtype == type);
    CHECK(closed.operand("workspace").shape.dims == out);
    CHECK(host_target(1, ActivationLayout::nhwc)->close(closed) == closed);
  }
}

TEST_CASE("our own kernels close to canonical layouts") {
  const auto target = host_target(2);
  const Recipe closed = target->close({"relu_gradient",
                                       {read("output", {2, 3}, "nc", "any"), read("d_output", {2, 3}, "nc", "any"),
                                        write("d_input", {2, 3}, "nc", "any")},
                                       {},
                                       2});
  CHECK(is_closed(closed));
  CHECK(target->implementation(closed) == "relu_gradient");
}

TEST_CASE("images are blocked where that was chosen and the channels fill the blocks") {
  const Dims many{2, 4, 4, 24}, few{2, 4, 4, 3};
  CHECK(host_target(1, ActivationLayout::blocked_8)->activation_layout(many, "nhwc") == "nChw8c");
  CHECK(host_target(1, ActivationLayout::blocked_8)->activation_layout(few, "nhwc") == "nhwc");
  CHECK(host_target(1, ActivationLayout::blocked_16)->activation_layout(many, "nhwc") == "nhwc");
  CHECK(host_target(1, ActivationLayout::nhwc)->activation_layout(many, "nhwc") == "nhwc");
  CHECK(host_target(1, ActivationLayout::blocked_8)->activation_layout({2, 24}, "nc") == "nc");
}

TEST_CASE("a target says what it is made for") {
  const Fingerprint fingerprint = host_target(2)->fingerprint();
  CHECK(fingerprint.library.starts_with("oneDNN 3."));
  CHECK(!fingerprint.instructions.empty());
  CHECK(fingerprint.instructions.find("isa") == std::string::npos);
  CHECK(fingerprint.threads == 2);
  CHECK_THROWS_AS(host_target(0), Error);
  CHECK_THROWS_AS(fixed_target(0), Error);
}

TEST_CASE("unknown kernels are no recipe for a target") {
  for (const auto& target : {host_target(1), fixed_target(1)})
    CHECK_THROWS_AS(target->close({"convolution", {}, {}, 1}), Error);
}
