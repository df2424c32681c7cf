// What the regularizers have in common: Σ l1·|x| + l2·x² over a parameter, or over the real rows of a layer's output
// and then divided by their number (Keras' division by the batch size). Sums, not means: a regularizer has no
// reduction. The subgradient of |x| at 0 is 0.
//
// Setting that the graph builder adds to a node, no key of the record: "activity", the prediction is a layer's output.
#pragma once

#include <cmath>

#include "compiler/ops/loss.hpp"

namespace weir::ops {

inline bool of_activity(const Attributes& attributes) {
  return attributes.has("activity") && attributes.flag("activity");
}
inline double strength(const Attributes& attributes, std::string_view name) {
  return attributes.has(name) ? attributes.number(name) : 0;
}

inline void infer_regularizer(InferContext& c) {
  const TensorType& prediction = c.operand("prediction");
  if (prediction.dtype != DType::f32)
    c.fail(1, "a regularizer needs an f32 node, but this one is " + to_string(prediction));
  c.result("value", scalar_type());
}

/// Entries that count, and what their sum is divided by.
struct RegularizerView {
  explicit RegularizerView(ReferenceContext& c)
      : prediction(c.operand("prediction")),
        l1(strength(c.attributes(), "l1")),
        l2(strength(c.attributes(), "l2")),
        rows(of_activity(c.attributes()) ? c.scalar("rows") : 1),
        entries(of_activity(c.attributes()) ? static_cast<std::int64_t>(rows) * (prediction.count() / c.batch())
                                            : prediction.count()) {}
  const Array& prediction;
  double l1, l2, rows;
  std::int64_t entries;
};

inline void regularizer_reference(ReferenceContext& c) {
  const RegularizerView view(c);
  double sum = 0;
  for (std::int64_t i = 0; i < view.entries; ++i)
    sum += view.l1 * std::abs(view.prediction[i]) + view.l2 * view.prediction[i] * view.prediction[i];
  c.result("value")[0] = view.rows > 0 ? sum / view.rows : 0;
}

inline void regularizer_gradient_reference(ReferenceContext& c) {
  const RegularizerView view(c);
  const double factor = view.rows > 0 ? c.scalar("weight") / view.rows : 0;
  for (std::int64_t i = 0; i < view.entries; ++i) {
    const double x = view.prediction[i], sign = (x > 0) - (x < 0);
    c.result("gradient")[i] = (view.l1 * sign + 2 * view.l2 * x) * factor;
  }
}

/// The kernels of the losses over entries; a parameter is one row, of which `rows` always leaves one.
inline void lower_regularizer(LowerContext& c) {
  const bool gradient = c.node().op->results[0] == "gradient", activity = of_activity(c.attributes());
  const Shape shape = c.operand("prediction").shape;
  const Dims dims = activity ? entries_of(shape) : Dims{1, element_count(shape.dims)};
  KernelBuilder kernel = c.kernel(gradient ? "loss_entries_gradient" : "loss_entries");
  kernel.read_as("prediction", "prediction", dims, "nc");
  if (gradient) kernel.read("weight", "weight");
  kernel.read("rows", "rows");
  if (gradient)
    kernel.write_as("gradient", "gradient", dims, "nc");
  else
    kernel.write("value", "value");
  kernel.set("loss", std::string("l1_l2"));
  for (const char* name : {"l1", "l2"}) kernel.set(name, strength(c.attributes(), name));
  kernel.set("divisor", 1.0).set("by_rows", activity).emit();
}

/// The private record behind a regularizer.
inline OpDef regularizer_gradient(std::string_view name, std::string_view equation) {
  return {.name = name,
          .summary = "gradient of the regularizer",
          .equation = equation,
          .role = Role::internal,
          .operands = {{"prediction"}, {"weight", OperandKind::scalar}, {"rows", OperandKind::scalar}},
          .results = {"gradient"},
          .infer = infer_loss_gradient,
          .no_gradient = true,
          .lower = lower_regularizer,
          .reference = regularizer_gradient_reference};
}

inline void emit_regularizer_gradient(GradientContext& c, const OpDef& gradient) {
  if (!c.wants("prediction")) return;
  c.set("prediction", c.emit(gradient, {c.operand("prediction"), c.gradient("value"), c.operand("rows")})[0]);
}

inline AttributeDef strength_attribute(std::string_view name, std::string_view doc, double standard) {
  return {.name = name, .doc = doc, .standard = standard, .least = 0};
}

inline std::vector<Example> regularizer_examples() {
  return {{.name = "kernel", .inputs = {unbatched({3, 5})}},
          {.name = "image_kernel", .inputs = {unbatched({3, 2, 5, 7})}},
          {.name = "bias", .inputs = {unbatched({1})}},
          {.name = "activity", .inputs = {batched({5})}, .attributes = {{"activity", true}}},
          {.name = "activity_of_an_image", .inputs = {batched({3, 2, 4})}, .attributes = {{"activity", true}}}};
}

}  // namespace weir::ops
