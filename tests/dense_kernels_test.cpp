// Dense layers, as far as kernels of our own compute them, against naive loops in double.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "runtime/kernels/matrix_product.hpp"
#include "runtime/kernels/small_product.hpp"
#include "runtime/target.hpp"
#include "tests/message_of.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct Layer {
  std::int64_t rows, in, out;
  std::size_t n(std::int64_t row, std::int64_t i) const { return static_cast<std::size_t>(row * in + i); }
  std::size_t w(std::int64_t i, std::int64_t o) const { return static_cast<std::size_t>(i * out + o); }
  std::size_t d(std::int64_t row, std::int64_t o) const { return static_cast<std::size_t>(row * out + o); }
  template <class Visit>
  void each(const Visit& visit) const {
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t o = 0; o < out; ++o) visit(n(row, i), w(i, o), d(row, o));
  }
};

/// Whole tiles, rests of rows and columns, strips of 16 and of 8, one of everything.
const Layer layers[] = {{32, 8, 16}, {32, 16, 2}, {33, 7, 17}, {9, 24, 24}, {3, 40, 8},
                        {1, 1, 1},   {5, 3, 33},  {16, 9, 41}, {2, 65, 15}, {64, 2, 9}};

Recipe forward(const Layer& l, const std::string& post_op = "") {
  Recipe recipe{"dense_forward",
                {read("src", {l.rows, l.in}, "nc"), read("weights", {l.in, l.out}, "io"), read("bias", {l.out}, "o"),
                 write("dst", {l.rows, l.out}, "nc")}};
  if (!post_op.empty()) recipe.attributes.set("post_op", post_op);
  return recipe;
}
Recipe backward_data(const Layer& l) {
  return {"dense_backward_data",
          {read("diff_dst", {l.rows, l.out}, "nc"), read("weights", {l.in, l.out}, "io"),
           write("diff_src", {l.rows, l.in}, "nc")}};
}
Recipe backward_weights(const Layer& l) {
  return {"dense_backward_weights",
          {read("src", {l.rows, l.in}, "nc"), read("diff_dst", {l.rows, l.out}, "nc"),
           write("diff_weights", {l.in, l.out}, "io"), write("diff_bias", {l.out}, "o")}};
}

std::vector<double> zeros(std::int64_t count) { return std::vector<double>(static_cast<std::size_t>(count)); }

std::string refusal(const Recipe& recipe) {
  return message_of([&] { validate_recipe(recipe); });
}

}  // namespace

TEST_CASE("a small dense layer gives what naive loops give, with and without bias and relu") {
  for (const Layer& l : layers)
    for (const bool relu : {false, true})
      for (const bool bias : {false, true}) {
        Recipe recipe = forward(l, relu ? "relu" : "");
        if (!bias) recipe.operands.erase(recipe.operands.begin() + 2);
        const Values x = numbers(l.rows * l.in), w = numbers(l.in * l.out, 1), b = numbers(l.out, 2);
        Run run(recipe);
        run.set("src", x).set("weights", w);
        if (bias) run.set("bias", b);
        std::vector<double> expected = zeros(l.rows * l.out);
        for (std::size_t i = 0; bias && i < expected.size(); ++i) expected[i] = b[i % b.size()];
        l.each([&](auto n, auto k, auto d) { expected[d] += double{x[n]} * w[k]; });
        for (double& value : expected) value = relu ? std::max(value, 0.0) : value;
        CHECK_MESSAGE(difference(run.run().get("dst"), expected) < 2e-6, to_string(recipe));
      }
}

TEST_CASE("the gradient over many rows is what naive loops give, whatever the edges, and on any number of threads") {
  for (const Layer& l : {Layer{1100, 37, 33}, Layer{512, 96, 64}, Layer{513, 5, 130}, Layer{600, 48, 20},
                         Layer{3, 40, 2}, Layer{1, 1, 1}}) {
    Recipe recipe = backward_weights(l);
    recipe.kernel = "dense_tall_backward_weights";
    const Values x = numbers(l.rows * l.in), g = numbers(l.rows * l.out, 2);
    std::vector<double> kernel = zeros(l.in * l.out), bias = zeros(l.out);
    l.each([&](auto n, auto k, auto d) { kernel[k] += double{x[n]} * g[d]; });
    for (std::size_t i = 0; i < g.size(); ++i) bias[i % bias.size()] += static_cast<double>(g[i]);
    std::vector<Values> made;
    for (int threads : {1, 2, 3}) {
      recipe.threads = threads;
      Run run(recipe);
      run.set("src", x).set("diff_dst", g).run();
      CHECK_MESSAGE(difference(run.get("diff_weights"), kernel) < 5e-6, to_string(recipe));
      CHECK_MESSAGE(difference(run.get("diff_bias"), bias) < 5e-6, to_string(recipe));
      made.push_back(run.get("diff_weights"));
    }
    CHECK(made[0] == made[1]);
    CHECK(made[0] == made[2]);
    recipe.operands.pop_back();
    Run without_bias(recipe);
    CHECK(without_bias.set("src", x).set("diff_dst", g).run().get("diff_weights") == made[0]);
  }
  Recipe wrong = backward_weights({8, 4, 4});
  wrong.kernel = "dense_tall_backward_weights";
  wrong.operands[1].shape.dims[0] = 7;
  CHECK(refusal(wrong).find("the kernel's extents do not fit those of the rows") != std::string::npos);
}

TEST_CASE("the gradients of a small dense layer are what naive loops give") {
  for (const Layer& l : layers) {
    const Values x = numbers(l.rows * l.in), w = numbers(l.in * l.out, 1), g = numbers(l.rows * l.out, 2);
    std::vector<double> by_rows = zeros(l.rows * l.in), by_kernel = zeros(l.in * l.out), by_bias = zeros(l.out);
    l.each([&](auto n, auto k, auto d) {
      by_rows[n] += double{g[d]} * w[k];
      by_kernel[k] += double{x[n]} * g[d];
    });
    for (std::size_t i = 0; i < g.size(); ++i) by_bias[i % by_bias.size()] += g[i];
    Run data(backward_data(l)), weights(backward_weights(l));
    data.set("diff_dst", g).set("weights", w).run();
    weights.set("src", x).set("diff_dst", g).run();
    CHECK_MESSAGE(difference(data.get("diff_src"), by_rows) < 2e-6, to_string(data.recipe()));
    CHECK_MESSAGE(difference(weights.get("diff_weights"), by_kernel) < 2e-6, to_string(weights.recipe()));
    CHECK_MESSAGE(difference(weights.get("diff_bias"), by_bias) < 2e-6, to_string(weights.recipe()));
    Recipe alone = backward_weights(l);
    alone.operands.pop_back();
    Run without(alone);
    CHECK(without.set("src", x).set("diff_dst", g).run().get("diff_weights") == weights.get("diff_weights"));
  }
}

#if defined(__x86_64__)
TEST_CASE("every instruction set of this machine computes the same product, each with tiles of its own") {
  if (kernels::instructions() == kernels::Instructions::baseline) return;
  constexpr std::int64_t rows = 13, depth = 7, columns = 16;
  const Values a = numbers(rows * depth), b = numbers(depth * columns, 1);
  std::vector<double> expected = zeros(rows * columns);
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t k = 0; k < depth; ++k)
      for (std::int64_t column = 0; column < columns; ++column)
        expected[static_cast<std::size_t>(row * columns + column)] +=
            double{a[static_cast<std::size_t>(row * depth + k)]} * b[static_cast<std::size_t>(k * columns + column)];
  const auto strip = [&](Values& c, std::int64_t first, std::int64_t count) {
    return kernels::ProductStrip{
        a.data(), depth, 1,     b.data() + first, columns, nullptr, c.data() + first, columns, rows,
        count,    depth, false, nullptr};
  };
  Values plain(expected.size()), wide(expected.size()), narrow(expected.size());
  kernels::StripProduct<4, 16>{}(strip(plain, 0, 16));
  kernels::call_avx2(kernels::StripProduct<4, 16>{}, strip(wide, 0, 16));
  for (std::int64_t first : {0, 8}) kernels::call_avx2(kernels::StripProduct<8, 8>{}, strip(narrow, first, 8));
  for (const Values& c : {plain, wide, narrow}) CHECK(difference(c, expected) < 1e-6);
  CHECK(wide == narrow);
}
#endif

TEST_CASE("a product of near matrices covers every row and column, and adds to what is there where it shall") {
  const std::int64_t rows = 11, columns = 2 * 16 + 8 + 3, depth = 5;
  const Values a = numbers(depth * rows), b = numbers(depth * columns, 1), before = numbers(rows * columns, 2);
  for (const bool adds : {false, true}) {
    std::vector<double> expected(before.begin(), before.end());
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) {
        double& entry = expected[static_cast<std::size_t>(i * columns + j)];
        if (!adds) entry = 0;
        for (std::int64_t k = 0; k < depth; ++k)
          entry += double{a[static_cast<std::size_t>(k * rows + i)]} * b[static_cast<std::size_t>(k * columns + j)];
      }
    const kernels::Matrix turned{a.data(), 1, rows}, plain{b.data(), columns};
    Values wide = before, narrow = before;
    kernels::MatrixProduct<16>::run(turned, plain, wide.data(), columns, rows, columns, depth, adds);
    kernels::MatrixProduct<8>::run(turned, plain, narrow.data(), columns, rows, columns, depth, adds);
    CHECK(difference(wide, expected) < 1e-6);
    CHECK(difference(narrow, expected) < 1e-6);
  }
}

TEST_CASE("relu in a small dense layer keeps what is not a number") {
  const Layer l{3, 2, 5};
  Values x = numbers(l.rows * l.in);
  x[2] = std::numeric_limits<float>::quiet_NaN();
  const Values y = Run(forward(l, "relu"))
                       .set("src", x)
                       .set("weights", numbers(l.in * l.out, 1))
                       .set("bias", numbers(l.out, 2))
                       .run()
                       .get("dst");
  for (std::int64_t o = 0; o < l.out; ++o) {
    CHECK(std::isfinite(y[l.d(0, o)]));
    CHECK(std::isnan(y[l.d(1, o)]));
    CHECK(std::isfinite(y[l.d(2, o)]));
  }
}

TEST_CASE("a recipe of a small dense layer that does not hold together is refused") {
  const Layer l{4, 16, 16};
  CHECK(refusal(forward(l, "relu")) == "(nothing was thrown)");
  CHECK(refusal(forward(l, "tanh")).find("post_op") != std::string::npos);
  Recipe blocked = forward(l);
  blocked.operands[1].shape.layout = "Io16i";
  CHECK(refusal(blocked).find("weights") != std::string::npos);
  Recipe wide = backward_data(l);
  wide.operands[1].shape.dims[1] = 17;
  CHECK(refusal(wide).find("the kernel's extents do not fit those of the rows") != std::string::npos);
  Recipe biased = backward_weights(l);
  biased.operands[3].shape.dims[0] = 17;
  CHECK(refusal(biased).find("one value for each output") != std::string::npos);
  Recipe fused = backward_weights(l);
  fused.attributes.set("post_op", std::string("relu"));
  CHECK(refusal(fused).find("it takes no setting \"post_op\"") != std::string::npos);
}

TEST_CASE("the machine's target takes our kernel on one thread for a small layer, the library for a large one") {
  const auto target = host_target(2);
  const auto closed = [&](std::int64_t width, const char* post_op) {
    Recipe open = forward({32, width, width}, post_op);
    open.kernel = "inner_product_forward";
    open.operands[1].shape.layout = "any";
    open.threads = 2;
    return target->close(open);
  };
  CHECK(closed(16, "relu").kernel == "dense_forward");
  CHECK(closed(16, "relu").threads == 1);
  CHECK(closed(16, "tanh").kernel == "inner_product_forward");
  CHECK(closed(512, "relu").kernel == "inner_product_forward");
  CHECK(closed(512, "relu").threads == 2);
  Recipe single = forward({1, 16, 16});
  single.kernel = "inner_product_forward";
  CHECK(target->close(single).kernel == "inner_product_forward");
}
