// Our own kernels that work entry by entry or move entries: pointwise, relu_gradient, gelu,
// dropout, concatenate, slice.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "runtime/error.hpp"
#include "runtime/random.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

constexpr std::int64_t sizes[] = {1, 7, 16, 511, 512, 513, 5000, 100003};

Recipe pointwise(const std::string& expression, const Dims& dims, const std::string& tensors,
                 const std::vector<std::string>& scalars = {}, const std::string& layout = "", int threads = 2) {
  const std::string axes = activation_axes(dims.size() - 1);
  Recipe recipe{"pointwise", {}, {{"expression", expression}}, threads};
  for (char name : tensors) recipe.operands.push_back(read(std::string(1, name), dims, axes, layout));
  for (const std::string& name : scalars) recipe.operands.push_back(scalar(name));
  recipe.operands.push_back(write("out", dims, axes, layout));
  return recipe;
}

struct Case {
  const char* expression;
  const char* tensors;
  std::function<double(double a, double b, double c)> value;
};

const Case cases[] = {
    {"a", "a", [](double a, double, double) { return a; }},
    {"-a", "a", [](double a, double, double) { return -a; }},
    {"a + b", "ab", [](double a, double b, double) { return a + b; }},
    {"a - b * c", "abc", [](double a, double b, double c) { return a - b * c; }},
    {"(a + b) * (a - b) / (2 + c * c)", "abc",
     [](double a, double b, double c) { return (a + b) * (a - b) / (2 + c * c); }},
    {"a * (1 - b * b)", "ab", [](double a, double b, double) { return a * (1 - b * b); }},
    {"a * b * (1 - b)", "ab", [](double a, double b, double) { return a * b * (1 - b); }},
    {"where(b > 0, a, 0)", "ab", [](double a, double b, double) { return b > 0 ? a : 0; }},
    {"where(a >= b, a - b, 10 * c)", "abc", [](double a, double b, double c) { return a >= b ? a - b : 10 * c; }},
    {"(a < b) + 2 * (a <= c)", "abc", [](double a, double b, double c) { return (a < b) + 2 * (a <= c); }},
    {"max(a, b) - min(b, c)", "abc", [](double a, double b, double c) { return std::max(a, b) - std::min(b, c); }},
    {"abs(a) * sign(b)", "ab", [](double a, double b, double) { return std::abs(a) * (b > 0   ? 1
                                                                                      : b < 0 ? -1
                                                                                              : 0); }},
    {"exp(a) + log(2 + b)", "ab", [](double a, double b, double) { return std::exp(a) + std::log(2 + b); }},
    {"sqrt(abs(a))", "a", [](double a, double, double) { return std::sqrt(std::abs(a)); }},
    {"tanh(3 * a) * sigmoid(b)", "ab",
     [](double a, double b, double) { return std::tanh(3 * a) / (1 + std::exp(-b)); }},
};

bool is_rejected(const Recipe& recipe) {
  try {
    validate_recipe(recipe);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_data);
    return true;
  }
  return false;
}

}  // namespace

struct Bend {
  double value, slope;
};

Bend bend(double x, bool approximate) {
  if (!approximate) {
    const double distribution = std::erfc(-x / std::sqrt(2.0)) / 2;
    return {x * distribution, distribution + x * std::exp(-x * x / 2) * 0.3989422804014327};
  }
  const double argument = 0.7978845608028654 * (x + 0.044715 * x * x * x), t = std::tanh(argument);
  return {x / 2 * (1 + t), (1 + t) / 2 + x / 2 * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x)};
}

Recipe gelu(std::int64_t count, bool approximate, bool with_slope) {
  Recipe recipe{"gelu", {read("src", {count}, "n"), write("dst", {count}, "n")}, {{"approximate", approximate}}, 2};
  if (with_slope) recipe.operands.push_back(write("slope", {count}, "n"));
  return recipe;
}

TEST_CASE("gelu and its slope are within 3e-7 of double precision, from tail to tail, also in place") {
  for (const bool approximate : {false, true})
    for (std::int64_t count : sizes) {
      Values x = numbers(count);
      for (float& value : x) value *= 12;
      x[0] = 0;
      Run training(gelu(count, approximate, true));
      const Values y = training.set("src", x).run().get("dst"), slope = training.get("slope");
      double apart = 0, slopes_apart = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const Bend expected = bend(double{x[i]}, approximate);
        apart = std::max(apart, std::abs(double{y[i]} - expected.value) / std::max(1.0, std::abs(double{x[i]})));
        slopes_apart = std::max(slopes_apart, std::abs(double{slope[i]} - expected.slope));
      }
      CHECK(apart < 2e-7);
      CHECK(slopes_apart < (approximate ? 5e-7 : 3e-7));
      CHECK(Run(gelu(count, approximate, false)).set("src", x).run().get("dst") == y);
      for (const char* over : {"dst", "slope"}) {
        Run in_place(gelu(count, approximate, true));
        in_place.overlay(over, "src").set("src", x).run();
        CHECK(in_place.get("dst") == y);
        CHECK(in_place.get("slope") == slope);
      }
    }
  Recipe uneven = gelu(4, false, true);
  uneven.operands[2].shape.dims = {5};
  CHECK(is_rejected(uneven));
  CHECK(is_rejected({"gelu", {read("src", {4}, "n"), write("dst", {5}, "n")}, {{"approximate", false}}}));
  CHECK(is_rejected({"gelu", {read("src", {4}, "n"), write("dst", {4}, "n")}}));
}

TEST_CASE("far out gelu is its argument or 0, and its slope 1 or 0") {
  for (const bool approximate : {false, true}) {
    Run run(gelu(4, approximate, true));
    run.set("src", {-1e30f, 1e30f, -60, 60}).run();
    CHECK(run.get("dst") == Values{0, 1e30f, 0, 60});
    CHECK(run.get("slope") == Values{0, 1, 0, 1});
    const float nothing = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(run.set("src", {nothing, 0, 0, 0}).run().get("dst")[0]));
    CHECK(std::isnan(run.get("slope")[0]));
  }
}

TEST_CASE("pointwise computes its expression for every size") {
  for (const Case& test : cases)
    for (std::int64_t size : sizes)
      for (int threads : {1, 2}) {
        Run run(pointwise(test.expression, {size}, test.tensors, {}, "", threads));
        Values inputs[3];
        for (int i = 0; i < 3; ++i) {
          inputs[i] = numbers(size, i);
          if (run.recipe().find(std::string(1, static_cast<char>('a' + i))))
            run.set(std::string(1, static_cast<char>('a' + i)), inputs[i]);
        }
        std::vector<double> expected(static_cast<std::size_t>(size));
        for (std::size_t i = 0; i < expected.size(); ++i)
          expected[i] = test.value(inputs[0][i], inputs[1][i], inputs[2][i]);
        CHECK_MESSAGE(difference(run.run().get("out"), expected) < 1e-6, to_string(run.recipe()));
      }
}

TEST_CASE("pointwise may write over any tensor that it reads") {
  for (const Case& test : cases)
    for (const char over : std::string(test.tensors)) {
      const auto result = [&](bool in_place) {
        Run run(pointwise(test.expression, {3, 700}, test.tensors));
        for (int salt = 0; const char name : std::string(test.tensors))
          run.set(std::string(1, name), numbers(2100, salt++));
        if (in_place) run.overlay("out", std::string(1, over));
        return run.run().get("out");
      };
      CHECK_MESSAGE(result(true) == result(false), test.expression);
    }
}

TEST_CASE("scalars are read at each run and combined in double") {
  Run run(pointwise("a * (weight.final / rows) + (1 / big - 1 / big)", {5}, "a", {"weight.final", "rows", "big"}));
  run.set("a", {1, 2, 3, 4, 5}).set("weight.final", 3.0).set("rows", 2.0).set("big", 1e-300);
  CHECK(run.run().get("out") == Values{1.5f, 3, 4.5f, 6, 7.5f});
  CHECK(run.set("rows", 3.0).run().get("out") == Values{1, 2, 3, 4, 5});
}

TEST_CASE("an expression of scalars fills the tensor") {
  Run run(pointwise("2 * value", {3, 400}, "", {"value"}));
  CHECK(run.set("value", 1.5).run().get("out") == Values(1200, 3.0f));
}

TEST_CASE("NaN goes through pointwise maxima") {
  Run run(pointwise("max(a, 0) + min(b, 0)", {2}, "ab"));
  run.set("a", {NAN, 1}).set("b", {1, NAN});
  const Values result = run.run().get("out");
  CHECK(std::isnan(result[0]));
  CHECK(std::isnan(result[1]));
}

TEST_CASE("pointwise works on padded layouts where zeros stay zeros, and refuses where they do not") {
  const Dims dims{2, 3, 3, 5};
  Run run(pointwise("a * (1 - b * b)", dims, "ab", {}, "nChw16c"));
  const Values a = numbers(90, 1), b = numbers(90, 2);
  std::vector<double> expected(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) expected[i] = a[i] * (1 - double{b[i]} * b[i]);
  CHECK(difference(run.set("a", a).set("b", b).run().get("out"), expected) < 1e-6);
  CHECK(is_rejected(pointwise("1 - a", dims, "a", {}, "nChw16c")));
  CHECK_FALSE(is_rejected(pointwise("1 - a", {2, 3, 3, 16}, "a", {}, "nChw16c")));
}

TEST_CASE("pointwise recipes that do not hold together are rejected") {
  CHECK(is_rejected(pointwise("a +", {3}, "a")));
  CHECK(is_rejected(pointwise("a + b", {3}, "a")));
  CHECK(is_rejected(pointwise("a", {3}, "ab")));
  CHECK(is_rejected(pointwise("a * rate", {3}, "a")));
  CHECK(is_rejected(pointwise("a + out", {3}, "a")));
  Recipe recipe = pointwise("a + b", {3}, "ab");
  recipe.operands[1].shape.dims = {4};
  CHECK(is_rejected(recipe));
  recipe = pointwise("a + b", {2, 3}, "ab");
  recipe.operands[1].shape.layout = "cn";
  CHECK(is_rejected(recipe));
  recipe = pointwise("a + b", {3}, "ab");
  recipe.operands[1] = recipe.operands[0];
  CHECK(is_rejected(recipe));
  recipe = pointwise("a", {3}, "a");
  recipe.operands[0].dtype = DType::i32;
  CHECK(is_rejected(recipe));
  recipe = pointwise("a", {3}, "a");
  recipe.operands[0].access = Access::write;
  CHECK(is_rejected(recipe));
  recipe = pointwise("a", {3}, "a");
  recipe.operands.pop_back();
  CHECK(is_rejected(recipe));
  recipe = pointwise("a", {3}, "a");
  recipe.attributes.set("expression", 3.0);
  CHECK(is_rejected(recipe));
  recipe = pointwise("a", {3}, "a");
  recipe.attributes.set("rate", 3.0);
  CHECK(is_rejected(recipe));
  recipe = pointwise("a * rate", {3}, "a", {"rate"});
  recipe.operands[1].shape = {{1}, "n", "n"};
  CHECK(is_rejected(recipe));
}

TEST_CASE("the gradient of relu passes where the result is positive") {
  for (std::int64_t size : sizes)
    for (const char* over : {"", "d_output", "output"}) {
      Run run({"relu_gradient",
               {read("output", {size}, "n"), read("d_output", {size}, "n"), write("d_input", {size}, "n")},
               {},
               2});
      Values y = numbers(size), d = numbers(size, 1);
      for (float& v : y) v = std::max(v, 0.0f);
      if (*over) run.overlay("d_input", over);
      run.set("output", y).set("d_output", d).run();
      for (std::size_t i = 0; i < d.size(); ++i) d[i] = y[i] > 0 ? d[i] : 0;
      CHECK(run.get("d_input") == d);
    }
}

TEST_CASE("the gradient of relu keeps padding zero") {
  const Dims dims{2, 3, 3, 5};
  Run run({"relu_gradient",
           {read("output", dims, "nhwc", "nChw8c"), read("d_output", dims, "nhwc", "nChw8c"),
            write("d_input", dims, "nhwc", "nChw8c")},
           {},
           1});
  const Values y(90, 1.0f), d = numbers(90);
  CHECK(run.set("output", y).set("d_output", d).run().get("d_input") == d);
}

namespace {

Recipe dropout(std::int64_t size, double rate, int threads, const std::string& name = "drop_1") {
  return {"dropout",
          {read("src", {size}, "n"), scalar("seed"), scalar("step"), write("dst", {size}, "n")},
          {{"rate", rate}, {"name_hash", static_cast<std::int64_t>(name_hash(name))}},
          threads};
}

Values dropped(std::int64_t size, double rate, int threads, double seed = 3, double step = 5,
               const std::string& name = "drop_1") {
  return Run(dropout(size, rate, threads, name))
      .set("src", Values(static_cast<std::size_t>(size), 1.0f))
      .set("seed", seed)
      .set("step", step)
      .run()
      .get("dst");
}

}  // namespace

TEST_CASE("dropout keeps an entry where its uniform number is at least the rate") {
  for (const double rate : {0.0, 0.1, 0.5, 0.7, 0.999})
    for (std::int64_t size : sizes) {
      Run run(dropout(size, rate, 1));
      const Values x = numbers(size);
      const Values result = run.set("src", x).set("seed", 3.0).set("step", 5.0).run().get("dst");
      std::vector<double> expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        expected[i] = uniform(random_key(3, "drop_1"), 5, i) >= rate ? x[i] / (1 - rate) : 0.0;
      CHECK(difference(result, expected) < 1e-6);
    }
}

TEST_CASE("dropout of rate 1 gives zeros, also for what is not finite") {
  Run run(dropout(3, 1, 1));
  CHECK(run.set("src", {NAN, INFINITY, 1}).set("seed", 0.0).set("step", 1.0).run().get("dst") == Values{0, 0, 0});
}

TEST_CASE("dropout depends on seed, step and name, not on threads") {
  const Values first = dropped(100003, 0.5, 1);
  CHECK(first == dropped(100003, 0.5, 2));
  CHECK(first != dropped(100003, 0.5, 1, 4));
  CHECK(first != dropped(100003, 0.5, 1, 3, 6));
  CHECK(first != dropped(100003, 0.5, 1, 3, 5, "drop_2"));
  const auto kept = std::count(first.begin(), first.end(), 2.0f);
  CHECK(kept > 49000);
  CHECK(kept < 51000);
}

TEST_CASE("dropout may write over what it reads") {
  const auto result = [](bool in_place) {
    Run run(dropout(5000, 0.3, 2));
    if (in_place) run.overlay("dst", "src");
    return run.set("src", numbers(5000)).set("seed", 1.0).set("step", 1.0).run().get("dst");
  };
  CHECK(result(true) == result(false));
}

TEST_CASE("wild scalars do not hurt dropout") {
  for (const double wild : {-1.0, 1e300, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    CHECK(dropped(100, 0.5, 1, wild, wild) == dropped(100, 0.5, 1, 0, 0));
}

TEST_CASE("dropout recipes that do not hold together are rejected") {
  for (const double rate : {-0.1, 1.1, static_cast<double>(NAN)}) CHECK(is_rejected(dropout(4, rate, 1)));
  Recipe recipe = dropout(4, 0.5, 1);
  recipe.attributes.erase("name_hash");
  CHECK(is_rejected(recipe));
  recipe = dropout(4, 0.5, 1);
  for (int i : {0, 3}) recipe.operands[static_cast<std::size_t>(i)].shape = {{1, 2, 2, 3}, "nhwc", "nChw8c"};
  CHECK(is_rejected(recipe));
  recipe = dropout(4, 0.5, 1);
  recipe.operands[1].dtype = DType::f32;
  CHECK(is_rejected(recipe));
}

TEST_CASE("concatenate joins along any axis and slice takes the parts back") {
  for (const Dims& dims : {Dims{2, 3, 4, 5}, Dims{4, 100}, Dims{1, 2}, Dims{64, 33, 7}, Dims{6}})
    for (std::size_t axis = 0; axis < dims.size(); ++axis)
      for (int threads : {1, 2}) {
        const std::string axes = activation_axes(dims.size() - 1);
        Dims whole = dims;
        whole[axis] = 0;
        Recipe join{"concatenate", {}, {{"axis", static_cast<std::int64_t>(axis)}}, threads};
        std::vector<Dims> parts;
        for (std::int64_t i = 0; i < 3; ++i) {
          parts.push_back(dims);
          parts.back()[axis] += i;
          whole[axis] += parts.back()[axis];
          join.operands.push_back(read("src_" + std::to_string(i), parts.back(), axes));
        }
        join.operands.push_back(write("dst", whole, axes));
        Run joined(join);
        for (int i = 0; i < 3; ++i)
          joined.set("src_" + std::to_string(i), numbers(element_count(parts[static_cast<std::size_t>(i)]), i));
        const Values result = joined.run().get("dst");
        for (std::int64_t start = 0, i = 0; i < 3; ++i) {
          const Dims& part = parts[static_cast<std::size_t>(i)];
          Run slice({"slice",
                     {read("src", whole, axes), write("dst", part, axes)},
                     {{"axis", static_cast<std::int64_t>(axis)}, {"start", start}},
                     threads});
          CHECK(slice.set("src", result).run().get("dst") == numbers(element_count(part), static_cast<int>(i)));
          start += part[axis];
        }
        if (axis == dims.size() - 1)  // the first row by hand
          CHECK(Values(result.begin(), result.begin() + dims[axis]) == [&] {
            const Values first = numbers(element_count(dims));
            return Values(first.begin(), first.begin() + dims[axis]);
          }());
      }
}

TEST_CASE("concatenate and slice move integers") {
  Recipe join{"concatenate",
              {read("src_0", {2}, "n"), read("src_1", {1}, "n"), write("dst", {3}, "n")},
              {{"axis", std::int64_t{0}}},
              1};
  for (RecipeOperand& operand : join.operands) operand.dtype = DType::i32;
  Run run(join);
  const std::int32_t first[] = {-1, 7}, second[] = {1 << 30};
  std::memcpy(run.data("src_0"), first, sizeof first);
  std::memcpy(run.data("src_1"), second, sizeof second);
  run.run();
  const std::int32_t expected[] = {-1, 7, 1 << 30};
  CHECK(std::memcmp(run.data("dst"), expected, sizeof expected) == 0);
}

TEST_CASE("joins and parts that do not fit are rejected") {
  const auto join = [](const Dims& one, const Dims& two, const Dims& dst, std::int64_t axis) {
    return Recipe{"concatenate",
                  {read("src_0", one, "nc"), read("src_1", two, "nc"), write("dst", dst, "nc")},
                  {{"axis", axis}},
                  1};
  };
  CHECK_FALSE(is_rejected(join({2, 3}, {2, 4}, {2, 7}, 1)));
  CHECK(is_rejected(join({2, 3}, {2, 4}, {2, 8}, 1)));
  CHECK(is_rejected(join({2, 3}, {3, 4}, {2, 7}, 1)));
  CHECK(is_rejected(join({2, 3}, {2, 4}, {2, 7}, 2)));
  CHECK(is_rejected(join({2, 3}, {2, 4}, {2, 7}, -1)));
  Recipe gap = join({2, 3}, {2, 4}, {2, 7}, 1);
  gap.operands[1].role = "src_2";
  CHECK(is_rejected(gap));
  Recipe twice = join({2, 3}, {2, 4}, {2, 7}, 1);
  twice.operands.push_back(twice.operands[0]);
  CHECK(is_rejected(twice));
  const auto slice = [](const Dims& src, const Dims& dst, std::int64_t axis, std::int64_t start) {
    return Recipe{"slice", {read("src", src, "nc"), write("dst", dst, "nc")}, {{"axis", axis}, {"start", start}}, 1};
  };
  CHECK_FALSE(is_rejected(slice({2, 7}, {2, 4}, 1, 3)));
  CHECK(is_rejected(slice({2, 7}, {2, 4}, 1, 4)));
  CHECK(is_rejected(slice({2, 7}, {2, 4}, 1, -1)));
  CHECK(is_rejected(slice({2, 7}, {2, 4}, 0, 0)));
  CHECK(is_rejected(slice({2, 7}, {3, 4}, 1, 0)));
  CHECK(is_rejected(slice({2, 7}, {2, 7}, 2, 0)));
}
