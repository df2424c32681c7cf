// Share of entries where (prediction > threshold) is the target, 0 or 1; a prediction at the threshold counts as 0. The
// threshold is rounded to f32 first: Keras compares in the prediction's type.
#include "compiler/ops/loss.hpp"

namespace weir::ops {
namespace {

double match(double x, double t, const Attributes& attributes) {
  return (x > static_cast<double>(static_cast<float>(attributes.number("threshold")))) == (t != 0) && (t == 0 || t == 1)
             ? 1
             : 0;
}

void lower(LowerContext& c) { lower_entries(c, "threshold_match", {"threshold"}); }

double bits(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>(i % 2) : 0.125 * static_cast<double>((i * 3) % 8);
}

}  // namespace

extern const OpDef binary_accuracy;
const OpDef binary_accuracy{
    .name = "binary_accuracy",
    .summary = "share of entries on the target's side of the threshold",
    .equation = "value = mean of [(prediction > threshold) = target]",
    .role = Role::metric,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {{.name = "threshold",
                    .doc = "predictions above it count as 1",
                    .standard = 0.5,
                    .least = -3e38,
                    .most = 3e38}},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape"},
    .infer = infer_entries,
    .no_gradient = true,
    .lower = lower,
    .reference = entries_reference<match>,
    .examples = {{.name = "one_unit", .inputs = {batched({1}), batched({1}, DType::i32)}, .fill = bits, .batch = 9},
                 {.name = "rows", .inputs = {batched({2, 3}), batched({2, 3})}, .fill = bits},
                 {.name = "threshold",
                  .inputs = {batched({8}), batched({8})},
                  .attributes = {{"threshold", 0.25}},
                  .fill = bits}},
};

}  // namespace weir::ops
