// ℓ = max(max (1 - t)·x - Σ t·x + 1, 0) over a row: the largest wrong score against the right one. As in Keras the
// gradient passes at the margin itself, and equal largest entries share it.
#include "compiler/ops/row_loss.hpp"

namespace weir::ops {
namespace {

struct Sides {
  explicit Sides(const LossRow& row) {
    for (std::size_t i = 0; i < row.x.size(); ++i) {
      wrong.push_back((1 - row.t[i]) * row.x[i]);
      right += row.t[i] * row.x[i];
    }
    most = *std::max_element(wrong.begin(), wrong.end());
  }
  double margin() const { return most - right + 1; }
  std::vector<double> wrong;
  double right = 0, most;
};

double value(const LossRow& row, const Attributes&) { return std::max(Sides(row).margin(), 0.0); }
std::vector<double> slopes(const LossRow& row, const Attributes&) {
  const Sides sides(row);
  std::vector<double> result(row.x.size());
  if (sides.margin() < 0) return result;
  const auto equal = static_cast<double>(std::count(sides.wrong.begin(), sides.wrong.end(), sides.most));
  for (std::size_t i = 0; i < row.x.size(); ++i)
    result[i] = (sides.wrong[i] == sides.most ? (1 - row.t[i]) / equal : 0) - row.t[i];
  return result;
}

void lower(LowerContext& c) { lower_rows(c, "categorical_hinge"); }

const OpDef categorical_hinge_gradient = loss_gradient(
    "categorical_hinge.gradient",
    "gradient = ((1 - target) at the largest wrong entry - target) · weight / D inside the margin, else 0",
    infer_loss_gradient, lower, rows_gradient_reference<slopes>);

void gradient(GradientContext& c) { emit_loss_gradient(c, categorical_hinge_gradient); }

/// Different scores that are nowhere 1 apart; classes.
double scores(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : 0.45 * static_cast<double>((i * 7) % 11) - 2.3;
}
double dense(std::size_t operand, std::int64_t i) { return operand ? static_cast<double>(i % 5 == 1) : scores(0, i); }

}  // namespace

extern const OpDef categorical_hinge;
const OpDef categorical_hinge{
    .name = "categorical_hinge",
    .summary = "how far the largest wrong score is from being 1 below the right one",
    .equation = "value = mean over rows of max(max (1 - target) · prediction - Σ target · prediction + 1, 0)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), class_weight_attribute(), ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .gradient = gradient,
    .lower = lower,
    .reference = rows_reference<value>,
    .class_target = true,
    .classification = true,
    .examples =
        {{.name = "one_hot",
          .inputs = {batched({4}), batched({}, DType::i32)},
          .attributes = {{"one_hot", std::int64_t{4}}},
          .fill = scores},
         {.name = "dense", .inputs = {batched({5}), batched({5})}, .fill = dense},
         {.name = "image",
          .inputs = {batched({2, 3, 4}), batched({2, 3}, DType::i32)},
          .attributes = {{"reduction", std::string("batch_mean")}, {"one_hot", std::int64_t{4}}},
          .fill = scores},
         {.name = "constant_target", .inputs = {batched({4})}, .attributes = {{"constant", 0.0}}, .fill = scores},
         {.name = "one_class", .inputs = {batched({1}), batched({1})}, .fill = dense, .batch = 1}},
    .internals = {&categorical_hinge_gradient},
};

}  // namespace weir::ops
