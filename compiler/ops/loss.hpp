// What the losses and metrics have in common: operands, shapes, the reduction, constant targets, the seed of the
// reverse sweep.
//
//   value = Σ ℓ / D over the real rows,  gradient = ∂ℓ/∂prediction · weight / D
//
// Weighted by masks, sample or class weights: value = Σ w·ℓ / D, both w and D from the node entry_weights; an entry of
// weight 0 is not read, D = 0 gives value and gradient 0.
//
// An entry of the unreduced loss ℓ is Keras': losses over entries first average over the last axis, losses over rows of
// classes give one number a row. reduction: mean, D = number of entries; sum, D = 1; batch_mean, D = rows. rows: how
// many rows of the batch are real; what is behind them is neither read into a sum nor given a gradient.
//
// Settings that the graph builder adds to a node, no keys of the record: "constant" (the target is this number, and the
// operand is absent), "one_hot" (the target holds i32 classes, without the class axis), "from_logits".
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "compiler/ir/op.hpp"

namespace weir::ops {

// --- The record

inline std::vector<OperandDef> loss_operands() {
  return {{"prediction"},
          {"target", OperandKind::target, true},
          {"rows", OperandKind::scalar},
          {"entry_weights", OperandKind::target, true},
          {"denominator", OperandKind::scalar, true}};
}
inline std::vector<OperandDef> loss_gradient_operands() {
  return {{"prediction"},
          {"target", OperandKind::target, true},
          {"weight", OperandKind::scalar},
          {"rows", OperandKind::scalar},
          {"entry_weights", OperandKind::target, true},
          {"denominator", OperandKind::scalar, true}};
}

inline AttributeDef reduction_attribute() {
  return {.name = "reduction",
          .type = AttributeType::word,
          .doc =
              "mean over entries, sum over entries, sum within a sample and mean over samples (batch_mean), or "
              "sum over entries by the sum of their sample weights",
          .standard = std::string("mean"),
          .words = {"mean", "sum", "batch_mean", "mean_with_sample_weight"}};
}
inline AttributeDef label_smoothing_attribute(std::string_view doc) {
  return {.name = "label_smoothing", .doc = doc, .standard = 0.0, .least = 0, .most = 1};
}
inline AttributeDef class_axis_attribute() {
  return {.name = "axis",
          .type = AttributeType::axis,
          .doc = "the axis of the classes, or of the mean",
          .standard = std::int64_t{-1},
          .most = -1};
}

inline bool has_constant_target(const Attributes& attributes) { return attributes.has("constant"); }
inline bool reads_logits(const Attributes& attributes) {
  return attributes.has("from_logits") && attributes.flag("from_logits");
}

inline AttributeDef class_weight_attribute(std::string_view doc = "what each class counts, C numbers") {
  return {.name = "class_weight", .type = AttributeType::numbers, .doc = doc, .optional = true, .least = 0};
}
inline AttributeDef ignore_class_attribute() {
  return {.name = "ignore_class",
          .type = AttributeType::integer,
          .doc = "entries of this class do not count; it may lie outside 0 … C - 1",
          .optional = true};
}

/// The private record behind a loss.
inline OpDef loss_gradient(std::string_view name, std::string_view equation, void (*infer)(InferContext&),
                           void (*lower)(LowerContext&), void (*reference)(ReferenceContext&)) {
  return {.name = name,
          .summary = "gradient of the loss by its prediction",
          .equation = equation,
          .role = Role::internal,
          .operands = loss_gradient_operands(),
          .results = {"gradient"},
          .infer = infer,
          .no_gradient = true,
          .lower = lower,
          .reference = reference};
}

inline void infer_loss_gradient(InferContext& c) { c.result("gradient", c.operand("prediction")); }

/// The gradient node reads the same weights and the same D.
inline void pass_weights(GradientContext& c, std::vector<ValueId>& operands) {
  if (c.operand("entry_weights") == none) return;
  operands.push_back(c.operand("entry_weights"));
  operands.push_back(c.operand("denominator"));
}

/// The gradient of a loss's value is its weight: the seed of the sweep.
inline void emit_loss_gradient(GradientContext& c, const OpDef& gradient) {
  if (!c.wants("prediction")) return;
  std::vector<ValueId> operands{c.operand("prediction"), c.operand("target"), c.gradient("value"), c.operand("rows")};
  pass_weights(c, operands);
  c.set("prediction", c.emit(gradient, std::move(operands))[0]);
}

// --- Shapes

/// What holds for every loss; ends infer otherwise.
inline void check_prediction(InferContext& c) {
  const TensorType& prediction = c.operand("prediction");
  if (prediction.dtype != DType::f32) c.fail(1, "a loss needs an f32 node, but this one is " + to_string(prediction));
  const Attributes& attributes = c.attributes();
  if (!attributes.has("axis") || attributes.integer("axis") == -1) return;  // other axes were moved to the end
  c.fail(0, "axis " + std::to_string(attributes.integer("axis")) + " is no axis of the node, which is " +
                to_string(prediction));
}

/// Target of a loss over entries: the prediction's shape, f32 or i32.
inline void infer_entries(InferContext& c) {
  check_prediction(c);
  c.result("value", scalar_type());
  if (has_constant_target(c.attributes())) return;
  const TensorType &prediction = c.operand("prediction"), &target = c.operand("target");
  if (target.dims != prediction.dims)
    c.fail(2, "the prediction is " + to_string(prediction) + ", but the target is " + to_string(target) +
                  "; they must have the same shape");
}

/// The class axis of the prediction.
inline std::int64_t class_count(InferContext& c) {
  const TensorType& prediction = c.operand("prediction");
  if (prediction.dims.empty()) c.fail(3, "the prediction needs a class axis, but it is " + to_string(prediction));
  return prediction.dims.back();
}

/// Target of a loss over rows of classes: i32 classes without the class axis (one_hot, or `sparse`), or f32 of the
/// prediction's shape.
inline void infer_class_rows(InferContext& c, bool sparse) {
  check_prediction(c);
  c.result("value", scalar_type());
  const std::int64_t classes = class_count(c);
  const Attributes& attributes = c.attributes();
  const std::string prediction = to_string(c.operand("prediction"));
  if (attributes.has("one_hot") && attributes.integer("one_hot") != classes)
    c.fail(2, "the prediction is " + prediction + ", but the target has one_hot " +
                  std::to_string(attributes.integer("one_hot")));
  if (has_constant_target(attributes)) {
    const double constant = attributes.number("constant");
    if (sparse && !(constant >= 0 && constant < static_cast<double>(classes) && constant == std::floor(constant)))
      c.fail(2, "the constant target must be a class, 0 to " + std::to_string(classes - 1));
    return;
  }
  const bool as_classes = sparse || attributes.has("one_hot");
  TensorType expected = c.operand("prediction");
  if (as_classes) expected.dims.pop_back(), expected.dtype = DType::i32;
  if (const TensorType& target = c.operand("target"); target != expected)
    c.fail(2, "the prediction is " + prediction + ", so the target must be " + to_string(expected) + ", but it is " +
                  to_string(target) + (as_classes ? "" : "; an i32 input of classes needs \"one_hot\""));
}
inline void infer_classes(InferContext& c) { infer_class_rows(c, false); }
inline void infer_sparse_classes(InferContext& c) { infer_class_rows(c, true); }

// --- The reduction

/// D = divisor · rows where by_rows, else divisor. Of a weighted loss, D is averaged · the operand `denominator`.
struct Denominator {
  double divisor;
  bool by_rows;
  double averaged;
  /// 0 without real rows: value and gradient are 0 then.
  double operator()(double rows) const { return by_rows ? divisor * rows : rows > 0 ? divisor : 0; }
};

/// summands: of one sample; averaged: how many of them make one entry of the unreduced loss.
inline Denominator denominator(const Attributes& attributes, std::int64_t summands, std::int64_t averaged) {
  const std::string reduction = attributes.is_word("reduction") ? attributes.word("reduction") : "mean";
  const auto whole = static_cast<double>(averaged);
  if (reduction == "mean") return {static_cast<double>(summands), true, whole};
  return {whole, reduction == "batch_mean", whole};
}

// --- Reference

/// prediction as [batch, rows, classes], rows the axes between batch and class axis.
struct LossView {
  explicit LossView(ReferenceContext& c)
      : prediction(c.operand("prediction")),
        attributes(c.attributes()),
        target(reads(c, "target") ? &c.operand("target") : nullptr),
        sample(prediction.count() / c.batch()),
        classes(prediction.dims.size() > 1 ? prediction.dims.back() : 1),
        rows(c.scalar("rows")),
        weights(reads(c, "entry_weights") ? &c.operand("entry_weights") : nullptr),
        weighted_denominator(weights ? c.scalar("denominator") : 0) {}

  std::int64_t real_entries() const { return static_cast<std::int64_t>(rows) * sample; }
  /// Of a target with the prediction's shape.
  double target_of(std::int64_t entry) const { return target ? (*target)[entry] : attributes.number("constant"); }
  /// As a row of zeros with a one where the target holds classes.
  double target_of(std::int64_t row, std::int64_t entry, bool sparse) const {
    if (!sparse && !attributes.has("one_hot")) return target_of(row * classes + entry);
    return static_cast<double>(entry) == target_of(row) ? 1 : 0;
  }

  /// Whether the loss has such an operand, and it is there.
  static bool reads(ReferenceContext& c, std::string_view name) {
    for (const OperandDef& operand : c.node().op->operands)
      if (operand.name == name) return c.has(name);
    return false;
  }

  /// Of an entry of the prediction; 0: it is not read.
  double weight_of(std::int64_t entry) const {
    return weights ? (*weights)[entry / (prediction.count() / weights->count())] : 1;
  }
  double total(const Denominator& denominator) const {
    return weights ? denominator.averaged * weighted_denominator : denominator(rows);
  }

  const Array& prediction;
  const Attributes& attributes;
  const Array* target;           ///< null where it is a constant or there is none
  std::int64_t sample, classes;  ///< entries of one sample; extent of the last axis
  double rows;
  const Array* weights;  ///< null: every entry counts once
  double weighted_denominator;
};

/// value of Σ terms over `summands` a sample.
inline double reduced(double sum, const Denominator& denominator, const LossView& view) {
  const double total = view.rows > 0 ? view.total(denominator) : 0;
  return total != 0 ? sum / total : 0;
}
inline double gradient_factor(ReferenceContext& c, const Denominator& denominator, const LossView& view) {
  return reduced(c.scalar("weight"), denominator, view);
}

// --- Losses over entries: a file gives ℓ(x, t) and its slope by x; the kernel has the same formula under
// `kernel_formula`.

using EntryFunction = double (*)(double prediction, double target, const Attributes& attributes);

/// Averaged over the last axis first.
inline Denominator entries_denominator(const LossView& view) {
  return denominator(view.attributes, view.sample, view.classes);
}

template <EntryFunction value>
void entries_reference(ReferenceContext& c) {
  const LossView view(c);
  double sum = 0;
  for (std::int64_t i = 0; i < view.real_entries(); ++i)
    if (const double weight = view.weight_of(i); weight != 0)
      sum += weight * value(view.prediction[i], view.target_of(i), view.attributes);
  c.result("value")[0] = reduced(sum, entries_denominator(view), view);
}

template <EntryFunction slope>
void entries_gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double factor = gradient_factor(c, entries_denominator(view), view);
  Array& gradient = c.result("gradient");
  for (std::int64_t i = 0; i < gradient.count(); ++i) {
    const double own = i < view.real_entries() ? factor * view.weight_of(i) : 0;
    gradient[i] = own == 0 ? 0 : slope(view.prediction[i], view.target_of(i), view.attributes) * own;
  }
}

// --- Lowering

/// Settings of D; of a weighted loss also its operands.
inline void set_denominator(LowerContext& c, KernelBuilder& kernel, const Denominator& denominator) {
  const bool weighted = c.has("entry_weights");
  kernel.set("divisor", weighted ? denominator.averaged : denominator.divisor);
  kernel.set("by_rows", !weighted && denominator.by_rows);
  if (!weighted) return;
  const Shape shape = c.operand("entry_weights").shape;
  const std::int64_t batch = shape.dims.front();
  kernel.read_as("entry_weights", "entry_weights", {batch, element_count(shape.dims) / batch}, "nc");
  kernel.read("denominator", "denominator");
}

/// Batch, and entries of one sample.
inline Dims entries_of(const Shape& shape) {
  const std::int64_t batch = shape.dims.front();
  return {batch, element_count(shape.dims) / batch};
}

/// Batch, rows of one sample, classes.
inline Dims class_rows_of(const Shape& shape) {
  const std::int64_t batch = shape.dims.front(), classes = shape.dims.back();
  return {batch, element_count(shape.dims) / batch / classes, classes};
}

/// A formula's settings are numbers; a flag is 1 or 0.
inline double number_of(const Attributes& attributes, std::string_view name) {
  for (const auto& [key, value] : attributes)
    if (const bool* flag = key == name ? std::get_if<bool>(&value) : nullptr) return *flag ? 1 : 0;
  return attributes.number(name);
}

/// loss_entries or loss_entries_gradient with the formula's own settings.
inline void lower_entries(LowerContext& c, std::string_view kernel_formula,
                          std::initializer_list<std::string_view> settings = {}) {
  const bool gradient = c.node().op->results[0] == "gradient";
  const Shape shape = c.operand("prediction").shape;
  const Dims dims = entries_of(shape);
  KernelBuilder kernel = c.kernel(gradient ? "loss_entries_gradient" : "loss_entries");
  kernel.read_as("prediction", "prediction", dims, "nc");
  if (c.has("target"))
    kernel.read_as("target", "target", dims, "nc");
  else
    kernel.set("constant", c.attributes().number("constant"));
  if (gradient) kernel.read("weight", "weight");
  kernel.read("rows", "rows");
  if (gradient)
    kernel.write_as("gradient", "gradient", dims, "nc");
  else
    kernel.write("value", "value");
  kernel.set("loss", std::string(kernel_formula));
  for (std::string_view name : settings) kernel.set(std::string(name), number_of(c.attributes(), name));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], shape.dims.size() > 1 ? shape.dims.back() : 1));
  kernel.emit();
}

/// prediction, target and rows of a kernel over rows of classes.
inline void read_class_rows(LowerContext& c, KernelBuilder& kernel, bool sparse) {
  const Dims dims = class_rows_of(c.operand("prediction").shape);
  kernel.read_as("prediction", "prediction", dims, "nwc");
  if (!c.has("target")) {
    const double constant = c.attributes().number("constant");
    if (sparse)
      kernel.set("class", static_cast<std::int64_t>(constant));
    else
      kernel.set("constant", constant);
  } else if (sparse || c.attributes().has("one_hot")) {
    kernel.read_as("target", "target", {dims[0], dims[1]}, "nw");
  } else {
    kernel.read_as("target", "target", dims, "nwc");
  }
  kernel.read("rows", "rows");
}

}  // namespace weir::ops
