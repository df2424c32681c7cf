// Share of rows whose largest entry stands at the target's class; of equal entries the first counts.
#include "compiler/ops/accuracy.hpp"

namespace weir::ops {
namespace {

double scores(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 4) : static_cast<double>((i * 7) % 11);
}

}  // namespace

extern const OpDef sparse_categorical_accuracy;
const OpDef sparse_categorical_accuracy{
    .name = "sparse_categorical_accuracy",
    .summary = "share of rows whose most likely class is the target",
    .equation = "value = mean over rows of [argmax(prediction) = target]",
    .role = Role::metric,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {class_weight_attribute(), ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: the target holds i32 classes, without the class axis",
                    "C3: the node has a class axis"},
    .infer = infer_sparse_classes,
    .no_gradient = true,
    .lower = lower_accuracy<true>,
    .reference = accuracy_reference<true>,
    .integer_target = true,
    .examples =
        {{.name = "rows", .inputs = {batched({4}), batched({}, DType::i32)}, .fill = scores, .batch = 5},
         {.name = "sequence", .inputs = {batched({3, 4}), batched({3}, DType::i32)}, .fill = scores},
         {.name = "constant_class", .inputs = {batched({4})}, .attributes = {{"constant", 1.0}}, .fill = scores}},
};

}  // namespace weir::ops
