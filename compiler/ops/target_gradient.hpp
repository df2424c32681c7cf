// The other half of a loss's gradient: by its target, for terms with {"node": …, "gradient": true}. A loss states the
// slope of ℓ by t beside that by x; the rest is that of the gradient by the prediction: rows behind the real ones get
// none, the factor is weight / D times the weight of the entry, and what has weight 0 is not read.
#pragma once

#include "compiler/ops/row_loss.hpp"

namespace weir::ops {

inline void infer_target_gradient(InferContext& c) { c.result("target_gradient", c.operand("target")); }

/// The private record "<loss>.target_gradient".
inline OpDef loss_target_gradient(std::string_view name, std::string_view equation, void (*lower)(LowerContext&),
                                  void (*reference)(ReferenceContext&)) {
  OpDef op = loss_gradient(name, equation, infer_target_gradient, lower, reference);
  op.summary = "gradient of the loss by its target";
  op.results = {"target_gradient"};
  return op;
}

/// By the same entry weights as the gradient by the prediction. Which class a row is of changes nowhere but in jumps,
/// so nothing flows through the weights.
inline void emit_target_gradient(GradientContext& c, const OpDef& gradient) {
  if (!c.wants("target")) return;
  std::vector<ValueId> operands{c.operand("prediction"), c.operand("target"), c.gradient("value"), c.operand("rows")};
  pass_weights(c, operands);
  c.set("target", c.emit(gradient, std::move(operands))[0]);
}

/// slope: of ℓ by t.
template <EntryFunction slope>
void entries_target_gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double factor = gradient_factor(c, entries_denominator(view), view);
  Array& gradient = c.result("target_gradient");
  for (std::int64_t i = 0; i < gradient.count(); ++i) {
    const double own = i < view.real_entries() ? factor * view.weight_of(i) : 0;
    gradient[i] = own == 0 ? 0 : slope(view.prediction[i], view.target_of(i), view.attributes) * own;
  }
}

/// slopes: of ℓ by the row's targets as they are used, smoothed where the op has that key.
template <RowSlopes slopes>
void rows_target_gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double factor = gradient_factor(c, class_rows_denominator(view), view) * (1 - smoothing_of(view.attributes));
  Array& gradient = c.result("target_gradient");
  std::fill(gradient.data.begin(), gradient.data.end(), 0.0);
  if (factor == 0) return;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row) {
    const double weight = view.weight_of(row * view.classes);
    if (weight == 0) continue;
    const std::vector<double> own = slopes(crossentropy_row(view, row, false), view.attributes);
    for (std::int64_t entry = 0; entry < view.classes; ++entry)
      gradient[row * view.classes + entry] = own[static_cast<std::size_t>(entry)] * factor * weight;
  }
}

/// The kernel loss_entries_target_gradient with the formula's own settings.
inline void lower_entries_target(LowerContext& c, std::string_view kernel_formula,
                                 std::initializer_list<std::string_view> settings = {}) {
  const Shape shape = c.operand("prediction").shape;
  const Dims dims = entries_of(shape);
  KernelBuilder kernel = c.kernel("loss_entries_target_gradient");
  kernel.read_as("prediction", "prediction", dims, "nc").read_as("target", "target", dims, "nc");
  kernel.read("weight", "weight").read("rows", "rows");
  kernel.write_as("gradient", "target_gradient", dims, "nc").set("loss", std::string(kernel_formula));
  for (std::string_view name : settings) kernel.set(std::string(name), number_of(c.attributes(), name));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], shape.dims.size() > 1 ? shape.dims.back() : 1));
  kernel.emit();
}

/// Adds operands, weight and D to a kernel over rows of classes.
inline void finish_rows_target(LowerContext& c, KernelBuilder& kernel) {
  const Dims dims = class_rows_of(c.operand("prediction").shape);
  read_class_rows(c, kernel, false);
  kernel.read("weight", "weight").write_as("gradient", "target_gradient", dims, "nwc");
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}

inline void lower_rows_target(LowerContext& c, std::string_view kernel_formula) {
  KernelBuilder kernel = c.kernel("loss_rows_target_gradient");
  kernel.set("loss", std::string(kernel_formula));
  finish_rows_target(c, kernel);
}

}  // namespace weir::ops
