// Batch normalization in training, with what is fused into it, against plain loops in double: every layout, channel
// counts that fill no vector, rows that fill no long row, statistics far from 0, and the same bits on any threads.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/message_of.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

using Doubles = std::vector<double>;

struct Case {
  Dims dims;
  std::string layout = "";
  std::string axes() const { return dims.size() == 4 ? "nhwc" : "nc"; }
  std::int64_t channels() const { return dims.back(); }
  std::int64_t entries() const { return element_count(dims); }
};

const Case cases[] = {{{2, 3, 5, 16}, "nhwc"},
                      {{2, 3, 5, 16}, "nChw16c"},
                      {{3, 5, 5, 24}, "nChw8c"},
                      {{2, 9, 9, 20}, "nChw8c"},
                      {{2, 9, 9, 20}, "nChw16c"},
                      {{9, 4, 4, 8}, "nhwc"},
                      {{3, 2, 2, 5}, "nhwc"},
                      {{1, 1, 1, 3}, "nhwc"},
                      {{8, 12}},
                      {{7, 1}},
                      {{70, 17}},
                      {{3, 13, 11, 100}, "nhwc"},
                      {{5, 24, 24, 17}, "nhwc"},
                      {{4, 23, 23, 32}, "nhwc"},
                      {{4, 23, 23, 32}, "nChw16c"}};

double activated(double value, const std::string& word) {
  if (!word.empty()) value = std::max(value, 0.0);
  return word == "relu6" ? std::min(value, 6.0) : value;
}

Recipe forward(const Case& c, const std::string& post_op, bool adds, int threads = 1) {
  const Dims channels{c.channels()};
  Recipe recipe{"normalize_batch",
                {read("src", c.dims, c.axes(), c.layout), read("scale", channels, "o"), read("shift", channels, "o")},
                {{"epsilon", 1e-3}},
                threads};
  if (adds) recipe.operands.push_back(read("addend", c.dims, c.axes(), c.layout));
  for (RecipeOperand operand :
       {write("dst", c.dims, c.axes(), c.layout), write("mean", channels, "o"), write("variance", channels, "o")})
    recipe.operands.push_back(operand);
  if (!post_op.empty()) recipe.attributes.set("post_op", post_op);
  return recipe;
}

Recipe backward(const Case& c, const std::string& post_op, bool adds, int threads = 1) {
  const Dims channels{c.channels()};
  Recipe recipe{"normalize_batch_gradient",
                {read("src", c.dims, c.axes(), c.layout), read("diff_dst", c.dims, c.axes(), c.layout),
                 read("mean", channels, "o"), read("variance", channels, "o"), read("scale", channels, "o"),
                 read("shift", channels, "o")},
                {{"epsilon", 1e-3}},
                threads};
  if (adds) recipe.operands.push_back(read("dst", c.dims, c.axes(), c.layout));
  for (RecipeOperand operand : {write("diff_src", c.dims, c.axes(), c.layout), write("diff_scale", channels, "o"),
                                write("diff_shift", channels, "o")})
    recipe.operands.push_back(operand);
  if (adds) recipe.operands.push_back(write("diff_addend", c.dims, c.axes(), c.layout));
  if (!post_op.empty()) recipe.attributes.set("post_op", post_op);
  return recipe;
}

struct Expected {
  Doubles y, mean, variance, xhat;

  Expected(const Case& c, const Values& x, const Values& scale, const Values& shift, const Values* addend,
           const std::string& post_op)
      : y(x.size()), mean(scale.size()), variance(scale.size()), xhat(x.size()) {
    const std::size_t channels = scale.size();
    const double rows = static_cast<double>(c.entries() / c.channels());
    for (std::size_t i = 0; i < x.size(); ++i) mean[i % channels] += x[i] / rows;
    for (std::size_t i = 0; i < x.size(); ++i)
      variance[i % channels] += (x[i] - mean[i % channels]) * (x[i] - mean[i % channels]) / rows;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t k = i % channels;
      xhat[i] = (x[i] - mean[k]) / std::sqrt(variance[k] + 1e-3);
      const double value = xhat[i] * scale[k] + shift[k] + (addend ? (*addend)[i] : 0.0f);
      y[i] = activated(value, post_op);
    }
  }
};

void check_close(const Run& run, const std::string& role, const Doubles& expected, double tolerance) {
  CHECK_MESSAGE(difference(run.get(role), expected) < tolerance, role << " of " << to_string(run.recipe()));
}

/// Values spread so that relu6 cuts on both sides.
Values scales(const Case& c) {
  Values scale = numbers(c.channels(), 1);
  for (float& value : scale) value *= 6;
  return scale;
}

Values narrowed(const Doubles& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("a normalization adds and activates in the same pass, in every layout") {
  for (const Case& c : cases)
    for (const std::string post_op : {"", "relu", "relu6"})
      for (const bool adds : {false, true}) {
        const Values x = numbers(c.entries()), scale = scales(c), shift = numbers(c.channels(), 2),
                     addend = numbers(c.entries(), 3);
        const Expected expected(c, x, scale, shift, adds ? &addend : nullptr, post_op);
        Run run(forward(c, post_op, adds));
        if (adds) run.set("addend", addend);
        run.set("src", x).set("scale", scale).set("shift", shift).run();
        check_close(run, "dst", expected.y, 1e-5);
        check_close(run, "mean", expected.mean, 1e-5);
        check_close(run, "variance", expected.variance, 3e-6);
      }
}

TEST_CASE("the gradient of a normalization masks what the activation kept back, in every layout") {
  for (const Case& c : cases)
    for (const std::string post_op : {"", "relu", "relu6"})
      for (const bool adds : {false, true}) {
        if (adds && post_op.empty()) continue;
        const Values x = numbers(c.entries()), scale = scales(c), shift = numbers(c.channels(), 2),
                     addend = numbers(c.entries(), 3), d = numbers(c.entries(), 5);
        const Expected expected(c, x, scale, shift, adds ? &addend : nullptr, post_op);
        Doubles masked(d.begin(), d.end()), d_scale(scale.size()), d_shift(scale.size()), dx(x.size());
        for (std::size_t i = 0; i < d.size(); ++i)
          if (!post_op.empty() && (expected.y[i] <= 0 || (post_op == "relu6" && expected.y[i] >= 6))) masked[i] = 0;
        const double rows = static_cast<double>(c.entries() / c.channels());
        for (std::size_t i = 0; i < d.size(); ++i) {
          d_shift[i % scale.size()] += masked[i];
          d_scale[i % scale.size()] += masked[i] * expected.xhat[i];
        }
        for (std::size_t i = 0; i < d.size(); ++i) {
          const std::size_t k = i % scale.size();
          dx[i] = scale[k] / std::sqrt(expected.variance[k] + 1e-3) *
                  (masked[i] - d_shift[k] / rows - expected.xhat[i] * d_scale[k] / rows);
        }
        Run run(backward(c, post_op, adds));
        if (adds) run.set("dst", narrowed(expected.y));
        run.set("src", x).set("diff_dst", d).set("scale", scale).set("shift", shift);
        run.set("mean", narrowed(expected.mean)).set("variance", narrowed(expected.variance)).run();
        check_close(run, "diff_src", dx, 3e-5);
        check_close(run, "diff_scale", d_scale, 1e-5);
        check_close(run, "diff_shift", d_shift, 1e-5);
        if (adds) check_close(run, "diff_addend", masked, 1e-7);
      }
}

TEST_CASE("a variance is right far from 0, with a first value that is not like the others, and of constants") {
  const Case c{{2, 16, 16, 24}, "nhwc"};
  const Values ones(24, 1.0f), zeros(24, 0.0f);
  Values x = numbers(c.entries());
  for (float& value : x) value += 1000;
  Values stray = numbers(c.entries());
  for (std::int64_t i = 0; i < c.channels(); ++i) stray[static_cast<std::size_t>(i)] = 1000;
  for (const Values& values : {x, stray}) {
    const Expected expected(c, values, ones, zeros, nullptr, "");
    Run run(forward(c, "", false));
    run.set("src", values).set("scale", ones).set("shift", zeros).run();
    check_close(run, "variance", expected.variance, 5e-5);
    check_close(run, "mean", expected.mean, 5e-5);
    check_close(run, "dst", expected.y, 1e-4);
  }
  Run run(forward(c, "", false));
  run.set("src", Values(x.size(), 123456.7f)).set("scale", ones).set("shift", ones).run();
  CHECK(run.get("variance") == zeros);
  CHECK(run.get("dst") == Values(x.size(), 1.0f));
}

TEST_CASE("threads change no bit of a normalization and its gradient, nor does their place in memory") {
  for (const Case& c : {Case{{4, 40, 40, 17}, "nhwc"}, Case{{8, 20, 20, 32}, "nChw8c"}}) {
    const Values x = numbers(c.entries()), scale = scales(c), shift = numbers(c.channels(), 2),
                 addend = numbers(c.entries(), 3), d = numbers(c.entries(), 5);
    const auto computed = [&](int threads, bool over) {
      Run there(forward(c, "relu6", true, threads));
      there.set("src", x).set("scale", scale).set("shift", shift).set("addend", addend);
      if (over) there.overlay("dst", "addend");
      there.run();
      Run back(backward(c, "relu6", true, threads));
      back.set("src", x).set("diff_dst", d).set("scale", scale).set("shift", shift);
      back.set("dst", there.get("dst")).set("mean", there.get("mean")).set("variance", there.get("variance"));
      if (over) back.overlay("diff_src", "diff_dst").overlay("diff_addend", "dst");
      back.run();
      return std::vector{there.get("dst"),       there.get("mean"),      there.get("variance"),  back.get("diff_src"),
                         back.get("diff_scale"), back.get("diff_shift"), back.get("diff_addend")};
    };
    const auto expected = computed(1, false);
    CHECK(computed(2, false) == expected);
    CHECK(computed(3, false) == expected);
    CHECK(computed(1, true) == expected);
  }
}

TEST_CASE("a mask that is computed again is the sign of the value, bit for bit") {
  for (const Case& c : {Case{{4, 20, 20, 17}, "nhwc"}, Case{{3, 7, 7, 32}, "nChw16c"}})
    for (const std::string post_op : {"relu", "relu6"}) {
      const Values x = numbers(c.entries()), scale = scales(c), shift = numbers(c.channels(), 2),
                   d = numbers(c.entries(), 5);
      Run there(forward(c, post_op, false));
      there.set("src", x).set("scale", scale).set("shift", shift).run();
      const auto gradient = [&](bool by_result) {
        Run run(backward(c, post_op, by_result));
        run.set("src", x).set("diff_dst", d).set("scale", scale).set("shift", shift);
        run.set("mean", there.get("mean")).set("variance", there.get("variance"));
        if (by_result) run.set("dst", there.get("dst"));
        run.run();
        return std::vector{run.get("diff_src"), run.get("diff_scale"), run.get("diff_shift")};
      };
      CHECK(gradient(false) == gradient(true));
    }
}

TEST_CASE("recipes of a normalization that do not hold together are refused") {
  const Case c{{2, 3, 3, 8}, "nhwc"};
  const auto refusal = [](const Recipe& recipe) { return message_of([&] { validate_recipe(recipe); }); };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  Recipe recipe = forward(c, "tanh", false);
  CHECK(has(refusal(recipe), "post_op"));
  recipe = forward(c, "", false);
  recipe.operands[1].shape.dims = {9};
  CHECK(has(refusal(recipe), "\"scale\" must have one value for each channel"));
  recipe = forward({{2, 3, 3, 8}, "nchw"}, "", false);
  CHECK(has(refusal(recipe), "must be in the layout \"nhwc\" or blocked"));
  recipe = forward(c, "", false);
  recipe.operands[3].shape.layout = "nChw8c";
  CHECK(has(refusal(recipe), "dst"));
  recipe = backward(c, "relu", true);
  recipe.attributes = {{"epsilon", 1e-3}};
  CHECK(has(refusal(recipe), "dst is of no use without \"post_op\""));
  recipe = backward(c, "relu", true);
  recipe.operands.erase(recipe.operands.begin() + 6);
  CHECK(has(refusal(recipe), "diff_addend needs dst"));
}
