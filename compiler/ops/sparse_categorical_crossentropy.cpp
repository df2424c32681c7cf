// ℓ = -log of the prediction at the target's class, one number a row; the forms are in crossentropy.hpp.
#include "compiler/ops/crossentropy.hpp"

namespace weir::ops {
namespace {

const OpDef sparse_categorical_crossentropy_gradient =
    loss_gradient("sparse_categorical_crossentropy.gradient",
                  "gradient = (softmax(prediction) - one_hot(target)) · weight / D, from logits", infer_loss_gradient,
                  lower_crossentropy<true>, crossentropy_gradient_reference<true>);

void gradient(GradientContext& c) { emit_loss_gradient(c, sparse_categorical_crossentropy_gradient); }

double logits(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i * 2) % 3) : static_cast<double>((i * 7) % 11) / 2 - 2.5;
}
double probabilities(std::size_t operand, std::int64_t i) {
  return operand ? static_cast<double>((i + 1) % 3) : 0.125 + 0.125 * static_cast<double>((i * 3) % 5);
}

}  // namespace

extern const OpDef sparse_categorical_crossentropy;
const OpDef sparse_categorical_crossentropy{
    .name = "sparse_categorical_crossentropy",
    .summary = "crossentropy of a class",
    .equation = "value = mean over rows of -log(prediction at the target's class)",
    .role = Role::loss,
    .operands = loss_operands(),
    .results = {"value"},
    .attributes = {reduction_attribute(), class_axis_attribute(), class_weight_attribute(), ignore_class_attribute()},
    .constraints = {"C1: the node is f32", "C2: the target holds i32 classes, without the class axis",
                    "C3: the node has a class axis"},
    .infer = infer_sparse_classes,
    .gradient = gradient,
    .lower = lower_crossentropy<true>,
    .reference = crossentropy_reference<true>,
    .logits_behind = "softmax",
    .integer_target = true,
    .classification = true,
    .examples = {{.name = "logits",
                  .inputs = {batched({4}), batched({}, DType::i32)},
                  .attributes = {{"from_logits", true}},
                  .fill = logits},
                 {.name = "sequence",
                  .inputs = {batched({3, 4}), batched({3}, DType::i32)},
                  .attributes = {{"from_logits", true}},
                  .fill = logits},
                 {.name = "sum",
                  .inputs = {batched({2, 3}), batched({2}, DType::i32)},
                  .attributes = {{"from_logits", true}, {"reduction", std::string("sum")}},
                  .fill = logits},
                 {.name = "probabilities", .inputs = {batched({4}), batched({}, DType::i32)}, .fill = probabilities},
                 {.name = "constant_class",
                  .inputs = {batched({4})},
                  .attributes = {{"from_logits", true}, {"constant", 2.0}},
                  .fill = logits}},
    .internals = {&sparse_categorical_crossentropy_gradient},
};

}  // namespace weir::ops
