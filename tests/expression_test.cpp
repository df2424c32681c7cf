// The expressions of pointwise kernels: what they mean, and texts that are none.
#include <cmath>
#include <map>

#include <doctest/doctest.h>

#include "runtime/error.hpp"
#include "runtime/expression.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

double value_of(const std::string& text, const std::map<std::string, double>& names = {}) {
  const Expression expression(text);
  std::vector<double> values;
  for (const Expression::Node& node : expression.nodes()) {
    const auto argument = [&](std::size_t i) {
      return i < node.arguments.size() ? values.at(static_cast<std::size_t>(node.arguments[i])) : 0.0;
    };
    if (node.operation == Operation::number)
      values.push_back(node.number);
    else if (node.operation == Operation::name)
      values.push_back(names.at(node.name));
    else
      values.push_back(evaluate(node.operation, argument(0), argument(1), argument(2)));
  }
  return values.back();
}

}  // namespace

TEST_CASE("operators bind as in arithmetic") {
  CHECK(value_of("1 + 2 * 3") == 7);
  CHECK(value_of("(1 + 2) * 3") == 9);
  CHECK(value_of("10 - 4 - 3") == 3);
  CHECK(value_of("12 / 3 / 2") == 2);
  CHECK(value_of("-2 * -3") == 6);
  CHECK(value_of("2 - -3") == 5);
  CHECK(value_of("1.5e-3*2") == 3e-3);
  CHECK(value_of("1 + 1 > 1") == 1);
  CHECK(value_of("a*(1-b*b)", {{"a", 2}, {"b", 0.5}}) == 1.5);
  CHECK(value_of("weight.final / rows", {{"weight.final", 3}, {"rows", 4}}) == 0.75);
}

TEST_CASE("functions mean what their names say") {
  CHECK(value_of("max(2, 3) + min(2, 3)") == 5);
  CHECK(value_of("where(1 > 2, 3, 4)") == 4);
  CHECK(value_of("where(2 >= 2, 3, 4)") == 3);
  CHECK(value_of("where(2 <= 1, 3, 4)") == 4);
  CHECK(value_of("abs(-2) + sign(-3) + sign(0) + sign(5)") == 2);
  CHECK(value_of("sqrt(9)") == 3);
  CHECK(value_of("exp(log(5))") == doctest::Approx(5));
  CHECK(value_of("tanh(0.5)") == std::tanh(0.5));
  CHECK(value_of("sigmoid(0)") == 0.5);
  CHECK(std::isnan(value_of("max(x.nan, 1)", {{"x.nan", NAN}})));
  CHECK(std::isnan(value_of("max(1, x.nan)", {{"x.nan", NAN}})));
  CHECK(std::isnan(value_of("min(1, x.nan)", {{"x.nan", NAN}})));
  CHECK(std::isnan(value_of("sign(x.nan)", {{"x.nan", NAN}})));
}

TEST_CASE("small letters are tensors, other names scalars, each listed once") {
  const Expression expression("a * rate + b * a - B");
  CHECK(expression.names() == std::vector<std::string>{"a", "rate", "b", "B"});
  CHECK(Expression::is_tensor("a"));
  CHECK_FALSE(Expression::is_tensor("B"));
  CHECK_FALSE(Expression::is_tensor("ab"));
  CHECK(expression.nodes().back().uniform == false);
  CHECK(Expression("2 * rate + 1").nodes().back().uniform);
}

TEST_CASE("it is known which expressions keep zeros") {
  for (const char* text : {"a", "a + b", "a * (1 - b * b)", "a * scale", "-a", "max(a, 0)", "where(a > 0, b, 0)",
                           "abs(a) / 2", "tanh(a)", "scale * a - 3 * b"})
    CHECK_MESSAGE(Expression(text).keeps_zero(), text);
  for (const char* text :
       {"1 - a", "a + scale", "exp(a)", "sigmoid(a)", "a / b", "a / scale", "where(a > 0, b, 1)", "2", "log(a)"})
    CHECK_MESSAGE(!Expression(text).keeps_zero(), text);
}

TEST_CASE("texts that are no expressions are rejected with the place") {
  for (const char* text : {"",      " ",      "a +",          "a b",         "a + * b", "(a",
                           "a)",    "max(a)", "max(a, b, c)", "where(a, b)", "foo(a)",  "a > b > c",
                           "1.2.3", "#",      "a ^ b",        "max(",        "max()",   "a,b",
                           ".",     "1e999"}) {
    CHECK_THROWS_AS(Expression{text}, Error);
    CHECK_MESSAGE(message_of([&] { Expression{text}; }).find("at character") != std::string::npos, text);
  }
}

TEST_CASE("size and depth are bounded") {
  CHECK_THROWS_AS(Expression(std::string(100, '(') + "a" + std::string(100, ')')), Error);
  CHECK_THROWS_AS(Expression(std::string(100000, '-') + "a"), Error);
  std::string longest = "a";
  for (int i = 0; i < 1000; ++i) longest += "+a";
  CHECK_THROWS_AS(Expression{longest}, Error);
  std::string nested = "a";
  for (int i = 0; i < 10; ++i) nested = "(" + nested + ")";
  CHECK_NOTHROW(Expression{nested});
}
