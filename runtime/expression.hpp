// The text of a pointwise kernel: "a * (1 - b * b)", "where(a > 0, b, 0)".
//
//   comparison = sum [(">" | "<" | ">=" | "<=") sum]      1 where it holds, else 0 (also for NaN)
//   sum        = product {("+" | "-") product}
//   product    = unary {("*" | "/") unary}
//   unary      = "-" unary | number | name | function "(" comparison {"," comparison} ")" | "(" comparison ")"
//   function   = max min (2), where (3: the second where the first is > 0, else the third), abs sign exp log sqrt tanh
//   sigmoid (1)
//
// A name of one small letter is a tensor; any other name ([A-Za-z_][A-Za-z0-9_.]*) is a scalar. max and min give NaN if
// an argument is NaN. Parts without a tensor are computed once, in double.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir {

enum class Operation {
  number,
  name,
  negate,
  absolute,
  sign,
  exponential,
  logarithm,
  root,
  hyperbolic_tangent,
  sigmoid,
  add,
  subtract,
  multiply,
  divide,
  larger,
  smaller,
  greater,
  less,
  greater_equal,
  less_equal,
  where,
};

class Expression {
 public:
  struct Node {
    Operation operation = Operation::number;
    double number = 0;
    std::string name = {};
    std::vector<int> arguments = {};  ///< earlier nodes
    bool uniform = false;             ///< no tensor in it
  };

  /// Throws Error(invalid_data) with the place. At most 256 nodes and 32 levels.
  explicit Expression(std::string_view text);

  /// Arguments before what uses them; the last one is the result.
  const std::vector<Node>& nodes() const { return nodes_; }
  /// Each once, in order of appearance.
  std::vector<std::string> names() const;
  static bool is_tensor(std::string_view name) { return name.size() == 1 && name[0] >= 'a' && name[0] <= 'z'; }

  /// True where zero tensors give zero whatever the (finite) scalars are: then padding stays zero.
  bool keeps_zero() const;

 private:
  friend class ExpressionParser;
  std::vector<Node> nodes_;
};

/// One operation on doubles; unused arguments are ignored. Not for number and name.
double evaluate(Operation operation, double x, double y, double z);

}  // namespace weir
