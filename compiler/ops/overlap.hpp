// What dice and tversky have in common. With I = Σ t·p, T = Σ t and P = Σ p over every entry of the real rows,
//   value = 1 - I / D,  D = I + alpha·(T - I) + beta·(P - I) + epsilon
// one number for the whole batch, so that a reduction changes nothing. T - I = Σ (1 - p)·t goes with alpha and P - I =
// Σ p·(1 - t) with beta, as Keras codes it; its documentation names them the other way round.
//   ∂value/∂p = (I·((1 - alpha - beta)·t + beta) - t·D) / D²
#pragma once

#include "compiler/ops/loss.hpp"

namespace weir::ops {

struct OverlapFactors {
  double alpha, beta, epsilon;
};

inline AttributeDef overlap_axes_attribute() {
  return {.name = "axis",
          .type = AttributeType::axes,
          .doc = "axes of the sums; all of them where it is left out",
          .optional = true,
          .later = true};
}

inline void infer_overlap(InferContext& c) {
  if (c.attributes().is_word("reduction") && c.attributes().word("reduction") == "batch_mean")
    c.fail(3, "the loss is one number for the whole batch, so it has no mean over samples");
  if (c.attributes().has("axis")) c.fail(0, "\"axis\" is not supported yet: the sums go over the whole batch");
  infer_entries(c);
}

/// No weights: the sums are no mean over entries.
inline std::vector<OperandDef> overlap_operands() {
  return {{"prediction"}, {"target", OperandKind::target, true}, {"rows", OperandKind::scalar}};
}

inline void emit_overlap_gradient(GradientContext& c, const OpDef& gradient) {
  if (!c.wants("prediction")) return;
  c.set("prediction",
        c.emit(gradient, {c.operand("prediction"), c.operand("target"), c.gradient("value"), c.operand("rows")})[0]);
}

struct OverlapView : LossView {
  OverlapView(ReferenceContext& c, const OverlapFactors& factors) : LossView(c), factors(factors) {
    double targets = 0, predictions = 0;
    for (std::int64_t i = 0; i < real_entries(); ++i) {
      common += prediction[i] * target_of(i);
      targets += target_of(i);
      predictions += prediction[i];
    }
    divisor = common + factors.alpha * (targets - common) + factors.beta * (predictions - common) + factors.epsilon;
  }
  OverlapFactors factors;
  double common = 0, divisor = 0;
};

inline void overlap_reference(ReferenceContext& c, const OverlapFactors& factors) {
  const OverlapView view(c, factors);
  c.result("value")[0] = view.rows > 0 ? 1 - view.common / view.divisor : 0;
}

inline void overlap_gradient_reference(ReferenceContext& c, const OverlapFactors& factors) {
  const OverlapView view(c, factors);
  const double weight = c.scalar("weight"), rest = 1 - factors.alpha - factors.beta;
  if (weight == 0) return;
  for (std::int64_t i = 0; i < view.real_entries(); ++i) {
    const double t = view.target_of(i);
    const double slope = (view.common * (rest * t + factors.beta) - t * view.divisor) / (view.divisor * view.divisor);
    c.result("gradient")[i] = weight * slope;
  }
}

inline void lower_overlap(LowerContext& c, const OverlapFactors& factors) {
  const bool gradient = c.node().op->results[0] == "gradient";
  const Dims dims = entries_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel(gradient ? "overlap_gradient" : "overlap");
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
  kernel.set("alpha", factors.alpha).set("beta", factors.beta).set("epsilon", factors.epsilon).emit();
}

/// Predictions between 0 and 1, targets 0 and 1.
inline double fill_overlap(std::size_t operand, std::int64_t element) {
  if (operand == 1) return static_cast<double>(element * 7 % 3 == 0);
  return 0.1 + static_cast<double>(element * 37 % 41) / 50.0;
}

inline std::vector<Example> overlap_examples() {
  return {
      {.name = "rows", .inputs = {batched({5}), batched({5})}, .fill = fill_overlap},
      {.name = "image", .inputs = {batched({3, 2, 4}), batched({3, 2, 4})}, .fill = fill_overlap},
      {.name = "integer_target", .inputs = {batched({4}), batched({4}, DType::i32)}, .fill = fill_overlap},
      {.name = "constant_target", .inputs = {batched({7})}, .attributes = {{"constant", 1.0}}, .fill = fill_overlap},
      {.name = "one", .inputs = {batched({1}), batched({1})}, .fill = fill_overlap, .batch = 1}};
}

}  // namespace weir::ops
