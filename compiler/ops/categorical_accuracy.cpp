// Share of rows whose largest entry stands where the target's does; of equal entries the first counts.
#include "compiler/ops/accuracy.hpp"

namespace weir::ops {
namespace {

double scores(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : static_cast<double>((i * 7) % 11);
}
double ties(std::size_t operand, std::int64_t i) {
  return static_cast<double>((i + static_cast<std::int64_t>(operand)) % 2);
}

}  // namespace

extern const OpDef categorical_accuracy;
const OpDef categorical_accuracy{
    .name = "categorical_accuracy",
    .summary = "share of rows whose most likely class is the target's",
    .equation = "value = mean over rows of [argmax(prediction) = argmax(target)]",
    .role = Role::metric,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {class_weight_attribute(), ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: prediction and target have the same shape, after one_hot",
                    "C3: the node has a class axis"},
    .infer = infer_classes,
    .no_gradient = true,
    .lower = lower_accuracy<false>,
    .reference = accuracy_reference<false>,
    .class_target = true,
    .examples =
        {{.name = "one_hot",
          .inputs = {batched({4}), batched({}, DType::i32)},
          .attributes = {{"one_hot", std::int64_t{4}}},
          .fill = scores,
          .batch = 5},
         {.name = "distribution", .inputs = {batched({2, 5}), batched({2, 5})}, .fill = scores},
         {.name = "ties", .inputs = {batched({3}), batched({3})}, .fill = ties, .batch = 4},
         {.name = "constant_target", .inputs = {batched({3})}, .attributes = {{"constant", 1.0}}, .fill = scores},
         {.name = "one_class", .inputs = {batched({1}), batched({1})}, .batch = 1}},
};

}  // namespace weir::ops
