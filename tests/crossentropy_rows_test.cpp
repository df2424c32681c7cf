// Crossentropy of rows of a few classes, which are computed side by side, against a naive one in double: rests of
// sixteen rows, far apart logits, near certainty, what is not a number.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "runtime/kernels/elementary.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct Case {
  std::int64_t rows, classes;
  double smoothing;
};
const Case cases[] = {{37, 2, 0}, {16, 5, 0.1}, {1, 1, 0}, {33, 16, 0}, {33, 16, 0.2}, {5, 17, 0.1}, {40, 10, 0}};

Recipe recipe_of(const Case& c, bool gradient) {
  Recipe recipe{gradient ? "crossentropy_gradient" : "crossentropy",
                {read("prediction", {c.rows, 1, c.classes}, "nwc"),
                 tensor("target", Access::read, {c.rows, 1}, "nw", "nw", DType::i32), scalar("rows")}};
  if (gradient) {
    recipe.operands.push_back(scalar("weight"));
    recipe.operands.push_back(write("gradient", {c.rows, 1, c.classes}, "nwc"));
  } else {
    recipe.operands.push_back(tensor("value", Access::write, {}, "", "", DType::f64));
  }
  recipe.attributes.set("form", std::string("logits"));
  recipe.attributes.set("label_smoothing", c.smoothing);
  recipe.attributes.set("divisor", 1.0);
  recipe.attributes.set("by_rows", true);
  return recipe;
}

std::int32_t class_of(std::int64_t row, std::int64_t classes) { return static_cast<std::int32_t>(row * 7 % classes); }

void set_classes(Run& run, const Case& c) {
  auto* classes = reinterpret_cast<std::int32_t*>(run.data("target"));
  for (std::int64_t row = 0; row < c.rows; ++row) classes[row] = class_of(row, c.classes);
}

/// From near 0 to far apart, some rows all but certain.
Values logits_of(const Case& c) {
  Values values = numbers(c.rows * c.classes);
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t i = 0; i < c.classes; ++i) {
      float& value = values[static_cast<std::size_t>(row * c.classes + i)];
      value *= row % 4 == 0 ? 1.0f : row % 4 == 1 ? 20.0f : 60.0f;
      if (row % 4 == 3 && i == class_of(row, c.classes)) value = 75;
    }
  return values;
}

struct Expected {
  double value = 0;
  std::vector<double> gradient;
};

Expected naive(const Case& c, const Values& logits, std::int64_t real_rows) {
  Expected expected{0, std::vector<double>(logits.size())};
  for (std::int64_t row = 0; row < real_rows; ++row) {
    const float* z = logits.data() + row * c.classes;
    double most = z[0], rest = 0;
    std::int64_t largest = 0;
    for (std::int64_t i = 0; i < c.classes; ++i)
      if (z[i] > most) most = z[i], largest = i;
    for (std::int64_t i = 0; i < c.classes; ++i)
      if (i != largest) rest += std::exp(z[i] - most);
    for (std::int64_t i = 0; i < c.classes; ++i) {
      const double target =
          (i == class_of(row, c.classes) ? 1 - c.smoothing : 0) + c.smoothing / static_cast<double>(c.classes);
      expected.value += target * (std::log1p(rest) + most - z[i]) / static_cast<double>(real_rows);
      expected.gradient[static_cast<std::size_t>(row * c.classes + i)] =
          (std::exp(z[i] - most) / (1 + rest) - target) / static_cast<double>(real_rows);
    }
  }
  return expected;
}

double value_of(Run& run) {
  double value = 0;
  std::memcpy(&value, run.run().data("value"), sizeof value);
  return value;
}

}  // namespace

TEST_CASE("short rows of logits give what a naive crossentropy gives, value and gradient, padding rows left out") {
  for (const Case& c : cases)
    for (std::int64_t real : {c.rows, (c.rows + 1) / 2}) {
      const Values logits = logits_of(c);
      const Expected expected = naive(c, logits, real);
      Run value(recipe_of(c, false)), gradient(recipe_of(c, true));
      for (Run* run : {&value, &gradient}) {
        set_classes(*run, c);
        run->set("prediction", logits).set("rows", static_cast<double>(real));
      }
      gradient.set("weight", 1.0);
      INFO(c.rows, " x ", c.classes, " smoothed by ", c.smoothing);
      CHECK(value_of(value) == doctest::Approx(expected.value).epsilon(1e-6));
      if (c.classes > 1) CHECK(difference(gradient.run().get("gradient"), expected.gradient) < 1e-6);
    }
}

TEST_CASE("a class outside the row, or a logit that is no number, makes the value and its row of the gradient none") {
  const Case c{20, 3, 0};
  for (const bool wrong_class : {true, false}) {
    Values logits = logits_of(c);
    if (!wrong_class) logits[18 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
    Run value(recipe_of(c, false)), gradient(recipe_of(c, true));
    for (Run* run : {&value, &gradient}) {
      set_classes(*run, c);
      if (wrong_class) reinterpret_cast<std::int32_t*>(run->data("target"))[18] = 3;
      run->set("prediction", logits).set("rows", 20.0);
    }
    CHECK(std::isnan(value_of(value)));
    const Values result = gradient.set("weight", 1.0).run().get("gradient");
    for (std::size_t i = 0; i < result.size(); ++i) CHECK(std::isnan(result[i]) == (i / 3 == 18));
  }
}

TEST_CASE("the logarithm of at least one is within rounding, also just above one") {
  for (double x : {1.0, 1 + 1e-15, 1 + 1e-9, 1.4142135623730949, 1.4142135623730951, 1.5, 2.0, 3.7, 16.0, 1e6, 1e300})
    CHECK(std::abs(kernels::log_of_at_least_one(x) - std::log(x)) <= 1e-15 * std::log(x));
  CHECK(std::isnan(kernels::log_of_at_least_one(std::numeric_limits<double>::quiet_NaN())));
  CHECK_FALSE(std::isfinite(kernels::log_of_at_least_one(std::numeric_limits<double>::infinity())));
}
