// Convolutions of 3 × 3 with fewer products than taps (runtime/kernels/winograd.hpp), against naive loops in double.
#include <doctest/doctest.h>

#include <vector>

#include "runtime/target.hpp"
#include "tests/convolution_layer.hpp"
#include "tests/message_of.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct Layer : ConvolutionLayer {
  /// Whatever the machine's target would take.
  Recipe closed(const std::string& direction, int threads = 1) const {
    Recipe closed = recipe("convolution_winograd_", direction, threads, "hwio");
    const KernelDef* kernel = find_kernel(closed.kernel);
    REQUIRE(kernel);
    closed.operands.push_back(tensor("scratch", Access::write, {kernel->scratch_bytes(closed)}, "x", "x", DType::u8));
    return closed;
  }
};

/// Odd and even extents, one tile, uneven padding and none, more than one chunk, channels of one vector and of several.
const Layer layers[] = {
    {{.n = 3, .h = 9, .w = 12, .in = 16, .out = 32, .padding = {1, 1, 1, 1}}},
    {{.n = 1, .h = 1, .w = 1, .in = 8, .out = 8, .padding = {1, 1, 1, 1}}},
    {{.n = 2, .h = 6, .w = 5, .in = 24, .out = 8, .padding = {0, 0, 0, 0}}},
    {{.n = 5, .h = 7, .w = 8, .in = 8, .out = 40, .padding = {2, 0, 1, 2}}},
    {{.n = 9, .h = 8, .w = 9, .in = 16, .out = 16, .padding = {1, 1, 1, 1}, .layout = "nChw8c"}},
    {{.n = 2, .h = 5, .w = 6, .in = 32, .out = 16, .padding = {0, 1, 2, 1}, .layout = "nChw8c"}},
};

std::string refusal(const Recipe& recipe) {
  return message_of([&] { validate_recipe(recipe); });
}

}  // namespace

TEST_CASE("a convolution with fewer products gives what naive loops give, whatever the threads") {
  for (const Layer& l : layers)
    for (const bool relu : {false, true}) {
      const Values x = numbers(element_count(l.source())), w = numbers(element_count(l.kernel()), 1),
                   b = numbers(l.out, 2);
      const std::vector<double> expected = l.results(x, w, b, relu);
      std::vector<Values> results;
      for (const int threads : {1, 2, 3}) {
        Recipe recipe = l.closed("forward", threads);
        if (relu) recipe.attributes.set("post_op", std::string("relu"));
        results.push_back(Run(recipe).set("src", x).set("weights", w).set("bias", b).run().get("dst"));
        CHECK_MESSAGE(difference(results.back(), expected) < 4e-6, to_string(recipe));
        CHECK(results.back() == results.front());
      }
    }
}

TEST_CASE("without a bias a convolution with fewer products starts from nothing") {
  const Layer& l = layers[0];
  const Values x = numbers(element_count(l.source())), w = numbers(element_count(l.kernel()), 1);
  const std::vector<double> expected = l.results(x, w, {}, false);
  Recipe recipe = l.closed("forward");
  recipe.operands.erase(recipe.operands.begin() + recipe.index_of("bias"));
  CHECK(difference(Run(recipe).set("src", x).set("weights", w).run().get("dst"), expected) < 4e-6);
}

TEST_CASE("the gradients of a convolution with fewer products are what naive loops give, whatever the threads") {
  for (const Layer& l : layers) {
    const Values x = numbers(element_count(l.source())), w = numbers(element_count(l.kernel()), 1),
                 g = numbers(element_count(l.result()), 2);
    const std::vector<double> by_image = l.gradient_of_source(g, w), by_kernel = l.gradient_of_kernel(x, g),
                              by_bias = l.gradient_of_bias(g);
    std::vector<Values> images, kernels;
    for (const int threads : {1, 2, 3}) {
      images.push_back(
          Run(l.closed("backward_data", threads)).set("diff_dst", g).set("weights", w).run().get("diff_src"));
      CHECK_MESSAGE(difference(images.back(), by_image) < 4e-6, to_string(l.closed("backward_data", threads)));
      CHECK(images.back() == images.front());
      Run run(l.closed("backward_weights", threads));
      run.set("src", x).set("diff_dst", g).run();
      kernels.push_back(run.get("diff_weights"));
      CHECK_MESSAGE(difference(kernels.back(), by_kernel) < 6e-6, to_string(run.recipe()));
      CHECK_MESSAGE(difference(run.get("diff_bias"), by_bias) < 4e-6, to_string(run.recipe()));
      CHECK(kernels.back() == kernels.front());
    }
    Recipe alone = l.closed("backward_weights");
    alone.operands.erase(alone.operands.begin() + alone.index_of("diff_bias"));
    CHECK(Run(alone).set("src", x).set("diff_dst", g).run().get("diff_weights") == kernels.front());
  }
}

TEST_CASE("sums of many tiles in shares are the same bits for every number of threads") {
  const Layer l{{.n = 33, .h = 8, .w = 11, .in = 8, .out = 16, .padding = {1, 1, 1, 1}}};  // 25 chunks in 8 shares
  const Values x = numbers(element_count(l.source())), g = numbers(element_count(l.result()), 2);
  const std::vector<double> by_kernel = l.gradient_of_kernel(x, g);
  std::vector<Values> results;
  for (const int threads : {1, 2, 3, 4, 8}) {
    results.push_back(
        Run(l.closed("backward_weights", threads)).set("src", x).set("diff_dst", g).run().get("diff_weights"));
    CHECK(results.back() == results.front());
  }
  CHECK(difference(results.front(), by_kernel) < 6e-6);
}

TEST_CASE("recipes of a convolution with fewer products that do not hold together are refused") {
  const Layer l = layers[0];
  const auto broken = [&](const char* direction, const auto& change) {
    Recipe recipe = l.closed(direction);
    change(recipe);
    return refusal(recipe);
  };
  for (const char* direction : {"forward", "backward_data", "backward_weights"}) {
    INFO(direction);
    const auto operand = [](Recipe& recipe, std::string_view part) -> RecipeOperand& {
      for (RecipeOperand& operand : recipe.operands)
        if (operand.role.ends_with(part)) return operand;
      throw Error(ErrorCode::internal, "no such operand");
    };
    validate_recipe(l.closed(direction));
    CHECK(broken(direction, [&](Recipe& r) { --operand(r, "scratch").shape.dims[0]; }).find("scratch is too small") !=
          std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) { operand(r, "weights").shape.dims[1] = 2; }).find("3 by 3") !=
          std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) { operand(r, "weights").shape.dims[2] = 8; }).find("channels do not fit") !=
          std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) { operand(r, "src").shape.dims[1] = 10; }).find("do not lead from") !=
          std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) { operand(r, "src").shape.layout = "nChw8c"; }).find("both images must") !=
          std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) {
            operand(r, "weights").shape = {l.kernel(), "hwoi", "hwoi"};
          }).find("the kernel \"hwio\"") != std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) {
            r.attributes.set("padding", std::vector<std::int64_t>{3, 1, 1, 1});
          }).find("padding") != std::string::npos);
    CHECK(broken(direction, [&](Recipe& r) {
            r.attributes.set("strides", std::vector<std::int64_t>{2, 1});
          }).find("strides") != std::string::npos);
  }
  for (const char* direction : {"forward", "backward_weights"})
    CHECK(broken(direction, [](Recipe& r) {
            for (RecipeOperand& operand : r.operands)
              if (operand.role.ends_with("bias")) operand.shape.dims[0] = 16;
          }).find("one value for each output channel") != std::string::npos);
  Layer odd = l;
  odd.in = 12;
  CHECK(refusal(odd.closed("forward")).find("multiple of 8") != std::string::npos);
  odd.in = 32, odd.layout = "nChw16c";
  CHECK(refusal(odd.closed("forward")).find("\"nhwc\" or \"nChw8c\"") != std::string::npos);
}

TEST_CASE("the machine's target takes fewer products where there are vectors of channels and enough tiles") {
  const Layer enough{{.n = 4, .h = 8, .w = 8, .in = 16, .out = 24, .padding = {1, 1, 1, 1}}};
  const auto kernel_of = [](const Layer& layer, const std::string& direction, int threads = 1) {
    return host_target(threads)->close(layer.open(direction, threads)).kernel;
  };
  const bool has_vectors = kernel_of(enough, "forward") == "convolution_winograd_forward";
  const std::string word = host_target(1)->fingerprint().instructions;
  CHECK(has_vectors == (word.find("avx2") != std::string::npos || word.find("avx512") != std::string::npos));
  for (const char* direction : {"forward", "backward_data", "backward_weights"}) {
    const std::string plain = "convolution_" + std::string(direction);
    const std::string fewer = has_vectors ? "convolution_winograd_" + std::string(direction) : plain;
    CHECK(kernel_of(enough, direction) == fewer);
    CHECK(kernel_of(enough, direction, 2) == fewer);
    CHECK(kernel_of(enough, direction, 3) == plain);  // 64 tiles are two threads' work
    Layer other = enough;
    other.in = 12;
    CHECK(kernel_of(other, direction) == plain);
    other = enough, other.layout = "nChw16c", other.in = other.out = 32;
    CHECK(kernel_of(other, direction) == plain);
    other = enough, other.n = 99, other.h = 3;
    CHECK(kernel_of(other, direction) == plain);
    other = enough, other.in = other.out = 264;
    CHECK(kernel_of(other, direction) == plain);
  }
  Layer large = enough;
  large.n = 32, large.in = large.out = 64;
  Recipe bent = large.open("forward", 1);
  bent.attributes.set("post_op", std::string("tanh"));
  CHECK(host_target(1)->close(bent).kernel == "convolution_forward");
  if (has_vectors) CHECK(host_target(1)->seconds(bent) > 1.2 * host_target(1)->seconds(large.open("forward", 1)));
}
