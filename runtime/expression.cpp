#include "runtime/expression.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::size_t most_nodes = 256;
constexpr int most_levels = 32;

struct Function {
  std::string_view name;
  Operation operation;
  std::size_t arguments;
};

constexpr std::array functions{Function{"abs", Operation::absolute, 1},
                               Function{"exp", Operation::exponential, 1},
                               Function{"log", Operation::logarithm, 1},
                               Function{"max", Operation::larger, 2},
                               Function{"min", Operation::smaller, 2},
                               Function{"sigmoid", Operation::sigmoid, 1},
                               Function{"sign", Operation::sign, 1},
                               Function{"sqrt", Operation::root, 1},
                               Function{"tanh", Operation::hyperbolic_tangent, 1},
                               Function{"where", Operation::where, 3}};

struct Symbol {
  std::string_view text;
  Operation operation;
};
constexpr std::array comparisons{Symbol{">=", Operation::greater_equal}, Symbol{"<=", Operation::less_equal},
                                 Symbol{">", Operation::greater}, Symbol{"<", Operation::less}};
constexpr std::array sums{Symbol{"+", Operation::add}, Symbol{"-", Operation::subtract}};
constexpr std::array products{Symbol{"*", Operation::multiply}, Symbol{"/", Operation::divide}};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class ExpressionParser {
 public:
  ExpressionParser(std::string_view text, std::vector<Expression::Node>& nodes) : text_(text), nodes_(nodes) {}

  void parse() {
    comparison();
    if (skip_spaces() != text_.size()) fail("an operator");
  }

 private:
  /// Counts how deep the text is nested.
  struct Level {
    explicit Level(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.level_ > most_levels) parser_.fail("less nesting");
    }
    ~Level() { --parser_.level_; }
    ExpressionParser& parser_;
  };

  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(ErrorCode::invalid_data, "expression \"" + std::string(text_) + "\": expected " + expected +
                                             " at character " + std::to_string(at_ + 1));
  }

  std::size_t skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_;
  }

  bool accept(std::string_view symbol) {
    if (!text_.substr(skip_spaces()).starts_with(symbol)) return false;
    at_ += symbol.size();
    return true;
  }

  template <class Symbols>
  std::optional<Operation> accept_any(const Symbols& symbols) {
    for (const Symbol& symbol : symbols)
      if (accept(symbol.text)) return symbol.operation;
    return std::nullopt;
  }

  int add(Expression::Node node) {
    if (nodes_.size() == most_nodes) fail("a shorter expression");
    if (node.operation == Operation::number) node.uniform = true;
    if (node.operation == Operation::name) node.uniform = !Expression::is_tensor(node.name);
    if (!node.arguments.empty())
      node.uniform = std::all_of(node.arguments.begin(), node.arguments.end(),
                                 [&](int argument) { return nodes_[static_cast<std::size_t>(argument)].uniform; });
    nodes_.push_back(std::move(node));
    return static_cast<int>(nodes_.size()) - 1;
  }

  int comparison() {
    const Level level(*this);
    const int left = sum();
    const auto operation = accept_any(comparisons);
    return operation ? add({.operation = *operation, .arguments = {left, sum()}}) : left;
  }

  int sum() {
    int left = product();
    while (const auto operation = accept_any(sums))
      left = add({.operation = *operation, .arguments = {left, product()}});
    return left;
  }

  int product() {
    int left = unary();
    while (const auto operation = accept_any(products))
      left = add({.operation = *operation, .arguments = {left, unary()}});
    return left;
  }

  int unary() {
    const Level level(*this);
    if (accept("-")) return add({.operation = Operation::negate, .arguments = {unary()}});
    if (accept("(")) {
      const int inner = comparison();
      if (!accept(")")) fail("\")\"");
      return inner;
    }
    const char next = skip_spaces() < text_.size() ? text_[at_] : '\0';
    if (is_letter(next)) return name_or_function();
    if (is_digit(next) || next == '.') return number();
    fail("a number, a name or \"(\"");
  }

  int number() {
    double value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("a number");
    at_ = static_cast<std::size_t>(end - text_.data());
    return add({.operation = Operation::number, .number = value});
  }

  int name_or_function() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    if (!accept("(")) return add({.operation = Operation::name, .name = std::string(name)});
    const auto function =
        std::find_if(functions.begin(), functions.end(), [&](const Function& f) { return f.name == name; });
    if (function == functions.end()) fail("a function that exists, not \"" + std::string(name) + "\",");
    std::vector<int> arguments{comparison()};
    while (accept(",")) arguments.push_back(comparison());
    if (!accept(")")) fail("\",\" or \")\"");
    if (arguments.size() != function->arguments)
      fail(std::to_string(function->arguments) + " arguments of \"" + std::string(name) + "\"");
    return add({.operation = function->operation, .arguments = arguments});
  }

  std::string_view text_;
  std::vector<Expression::Node>& nodes_;
  std::size_t at_ = 0;
  int level_ = 0;
};

Expression::Expression(std::string_view text) { ExpressionParser(text, nodes_).parse(); }

std::vector<std::string> Expression::names() const {
  std::vector<std::string> names;
  for (const Node& node : nodes_)
    if (node.operation == Operation::name && std::find(names.begin(), names.end(), node.name) == names.end())
      names.push_back(node.name);
  return names;
}

bool Expression::keeps_zero() const {
  std::vector<std::optional<double>> known;  // values at zero tensors, where they do not depend on a scalar
  for (const Node& node : nodes_) {
    std::array<std::optional<double>, 3> arguments;
    for (std::size_t i = 0; i < node.arguments.size(); ++i)
      arguments[i] = known[static_cast<std::size_t>(node.arguments[i])];
    const bool all =
        std::all_of(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(node.arguments.size()),
                    [](const auto& argument) { return argument.has_value(); });
    std::optional<double> value;
    if (node.operation == Operation::number) {
      value = node.number;
    } else if (node.operation == Operation::name) {
      if (is_tensor(node.name)) value = 0.0;
    } else if (node.operation == Operation::multiply && (arguments[0] == 0.0 || arguments[1] == 0.0)) {
      value = 0.0;
    } else if (all) {
      value = evaluate(node.operation, arguments[0].value_or(0), arguments[1].value_or(0), arguments[2].value_or(0));
    }
    known.push_back(value);
  }
  return known.back() == 0.0;
}

double evaluate(Operation operation, double x, double y, double z) {
  switch (operation) {
    case Operation::number:
    case Operation::name:
      break;
    case Operation::negate:
      return -x;
    case Operation::absolute:
      return std::abs(x);
    case Operation::sign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case Operation::exponential:
      return std::exp(x);
    case Operation::logarithm:
      return std::log(x);
    case Operation::root:
      return std::sqrt(x);
    case Operation::hyperbolic_tangent:
      return std::tanh(x);
    case Operation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Operation::add:
      return x + y;
    case Operation::subtract:
      return x - y;
    case Operation::multiply:
      return x * y;
    case Operation::divide:
      return x / y;
    case Operation::larger:
      return x > y || x != x ? x : y;
    case Operation::smaller:
      return x < y || x != x ? x : y;
    case Operation::greater:
      return x > y;
    case Operation::less:
      return x < y;
    case Operation::greater_equal:
      return x >= y;
    case Operation::less_equal:
      return x <= y;
    case Operation::where:
      return x > 0 ? y : z;
  }
  WEIR_CHECK(false, "evaluate takes operations");
  return 0;
}

}  // namespace weir
