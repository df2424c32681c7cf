// Convolutions over images of few channels, which kernels of our own compute, against naive loops in double.
#include <doctest/doctest.h>

#include <vector>

#include "runtime/onednn/primitives.hpp"
#include "runtime/onednn/ways.hpp"
#include "runtime/target.hpp"
#include "tests/convolution_layer.hpp"
#include "tests/message_of.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct Layer : ConvolutionLayer {
  Recipe forward(int threads = 1) const { return recipe("convolution_thin_", "forward", threads, "hwio"); }
  Recipe backward_weights(int threads = 1) const {
    return recipe("convolution_thin_", "backward_weights", threads, "hwio");
  }
};

const Layer layers[] = {
    {{.n = 9, .h = 11, .w = 9, .in = 1, .out = 32, .kh = 3, .kw = 3, .padding = {1, 1, 1, 1}}},
    {{.n = 2, .h = 8, .w = 17, .in = 3, .out = 16, .kh = 5, .kw = 4, .strides = {2, 3}, .padding = {0, 1, 3, 2}}},
    {{.n = 1, .h = 1, .w = 1, .in = 2, .out = 16, .kh = 1, .kw = 1}},
    {{.n = 5, .h = 6, .w = 7, .in = 4, .out = 48, .kh = 2, .kw = 3, .strides = {1, 2}}},
};

/// For the gradients alone: filters that fill no strip.
const Layer odd_layers[] = {
    {{.n = 4, .h = 4, .w = 4, .in = 2, .out = 3, .kh = 1, .kw = 1, .strides = {1, 2}}},
    {{.n = 5, .h = 7, .w = 6, .in = 7, .out = 21, .kh = 1, .kw = 1, .strides = {2, 3}}},
    {{.n = 1, .h = 5, .w = 5, .in = 1, .out = 1, .kh = 3, .kw = 2, .padding = {1, 0, 1, 0}}},
};

std::string refusal(const Recipe& recipe) {
  return message_of([&] { validate_recipe(recipe); });
}

}  // namespace

TEST_CASE("a convolution over few channels gives what naive loops give, whatever the threads") {
  for (const Layer& l : layers)
    for (const bool relu : {false, true}) {
      const Values x = numbers(element_count(l.source())), w = numbers(element_count(l.kernel()), 1),
                   b = numbers(l.out, 2);
      const std::vector<double> expected = l.results(x, w, b, relu);
      std::vector<Values> results;
      for (const int threads : {1, 2, 3}) {
        Recipe recipe = l.forward(threads);
        if (relu) recipe.attributes.set("post_op", std::string("relu"));
        results.push_back(Run(recipe).set("src", x).set("weights", w).set("bias", b).run().get("dst"));
        CHECK_MESSAGE(difference(results.back(), expected) < 2e-6, to_string(recipe));
        CHECK(results.back() == results.front());
      }
    }
}

TEST_CASE("the gradients of a convolution over few channels are what naive loops give, whatever the threads") {
  std::vector<Layer> all(std::begin(layers), std::end(layers));
  all.insert(all.end(), std::begin(odd_layers), std::end(odd_layers));
  for (const Layer& l : all) {
    const Values x = numbers(element_count(l.source())), g = numbers(element_count(l.result()), 1);
    const std::vector<double> by_kernel = l.gradient_of_kernel(x, g), by_bias = l.gradient_of_bias(g);
    std::vector<Values> results;
    for (const int threads : {1, 2, 3}) {
      Run run(l.backward_weights(threads));
      run.set("src", x).set("diff_dst", g).run();
      results.push_back(run.get("diff_weights"));
      CHECK_MESSAGE(difference(results.back(), by_kernel) < 3e-6, to_string(run.recipe()));
      CHECK_MESSAGE(difference(run.get("diff_bias"), by_bias) < 3e-6, to_string(run.recipe()));
      CHECK(results.back() == results.front());
    }
    Recipe alone = l.backward_weights();
    alone.operands.pop_back();
    CHECK(Run(alone).set("src", x).set("diff_dst", g).run().get("diff_weights") == results.front());
  }
}

TEST_CASE("a recipe of a convolution over few channels that does not hold together is refused") {
  const Layer& l = layers[0];
  CHECK(refusal(l.forward()) == "(nothing was thrown)");
  Recipe padded = l.forward();
  padded.attributes.set("padding", std::vector<std::int64_t>{3, 1, 1, 1});
  CHECK(refusal(padded).find("the padding must be smaller than the window") != std::string::npos);
  Recipe strided = l.forward();
  strided.attributes.set("strides", std::vector<std::int64_t>{2, 1});
  CHECK(refusal(strided).find("do not lead from one image to the other") != std::string::npos);
  Recipe dilated = l.backward_weights();
  dilated.attributes.set("dilation", std::vector<std::int64_t>{2, 1});
  CHECK(refusal(dilated).find("dilation") != std::string::npos);
  Layer odd = l;
  odd.out = 17;
  CHECK(refusal(odd.forward()).find("a multiple of 16") != std::string::npos);
  Recipe channels = l.backward_weights();
  channels.operands[2].shape.dims[2] = 2;
  CHECK(refusal(channels).find("channels do not fit") != std::string::npos);
  Recipe bias = l.forward();
  bias.operands[2].shape.dims[0] = 16;
  CHECK(refusal(bias).find("one value for each output channel") != std::string::npos);
  Recipe blocked = l.forward();
  blocked.operands[3].shape.layout = "nChw16c";
  CHECK(refusal(blocked).find("dst") != std::string::npos);
  Recipe turned = l.forward();
  turned.operands[1].shape = {l.kernel(), "hwoi", "hwoi"};
  CHECK(refusal(turned).find("the kernel \"hwio\"") != std::string::npos);
}

TEST_CASE("the machine's target takes our kernels for few channels and whole strips of filters alone") {
  const auto target = host_target(1);
  const auto kernel_of = [&](const Layer& layer, const char* post_op) {
    Recipe open = layer.open("forward");
    if (*post_op) open.attributes.set("post_op", std::string(post_op));
    return target->close(open).kernel;
  };
  Layer many = layers[0], odd = layers[0];
  many.in = 6, odd.out = 24;
  CHECK(kernel_of(layers[0], "relu") == "convolution_thin_forward");
  CHECK(kernel_of(layers[0], "tanh") == "convolution_forward");
  CHECK(kernel_of(many, "relu") == "convolution_forward");
  CHECK(kernel_of(odd, "relu") == "convolution_forward");
}

// oneDNN 3.2's AVX2 kernel for these asks for too little scratch and writes behind it, into whatever lies there.
TEST_CASE("the machine's gradient of a strided convolution of one cell over few channels stays within its operands") {
  for (const std::int64_t in : {1, 2, 3, 7, 8})
    for (const std::int64_t out : {1, 3, 8, 16})
      for (const std::vector<std::int64_t>& strides : {Dims{1, 2}, Dims{2, 1}, Dims{2, 2}}) {
        const Layer l{{.n = 2, .h = 16, .w = 17, .in = in, .out = out, .kh = 1, .kw = 1, .strides = strides}};
        const Values x = numbers(element_count(l.source())), g = numbers(element_count(l.result()), 1);
        Run run(host_target(1)->close(l.open("backward_weights")));
        run.set("src", x).set("diff_dst", g).run();
        CHECK_MESSAGE(difference(run.get("diff_weights"), l.gradient_of_kernel(x, g)) < 3e-6, to_string(run.recipe()));
      }
}

TEST_CASE("the library's kernel that outgrows its scratch is refused, also in a plan, and ours is the only way") {
  const Layer l{{.n = 4, .h = 4, .w = 4, .in = 2, .out = 3, .kh = 1, .kw = 1, .strides = {1, 2}}};
  const Recipe open = l.open("backward_weights");
  const std::string words = "the library's kernel needs more scratch than it asks for";
  const bool closes = message_of([&] { close_primitive(open); }).find(words) == std::string::npos;
  CHECK(closes == !has_avx2_alone());
  if (closes) return;
  CHECK(refusal(l.recipe("convolution_", "backward_weights", 1, "OIhw8i8o")).find(words) != std::string::npos);
  CHECK(usual_way(open).kernel == "convolution_thin_backward_weights");
  CHECK(ways_of(open).size() == 1);
}
