// What the constraints on norms have in common (Keras): after the update of a parameter w, with norm the Euclidean norm
// along `axis` and every other position on its own,
//   w = w · desired / (1e-7 + norm),  desired = rate · clip(norm, least, most) + (1 - rate) · norm
// Axes are those of the parameter as Keras has it, counted from the front or from the end.
#pragma once

#include <cmath>

#include "compiler/ir/op.hpp"

namespace weir::ops {

struct NormRange {
  double least, most, rate;
};

inline AttributeDef norm_axes_attribute() {
  return {.name = "axis",
          .type = AttributeType::axes,
          .doc = "axes of the parameter along which the norm is taken; [0, 1, 2] for a convolution's kernel",
          .standard = std::vector<std::int64_t>{0}};
}

/// From the front, ascending.
inline std::vector<std::int64_t> norm_axes(const Attributes& attributes, std::int64_t rank) {
  std::vector<std::int64_t> axes;
  for (std::int64_t axis = 0; axis < rank; ++axis)
    for (std::int64_t given : attributes.integers("axis"))
      if (given == axis || given + rank == axis) axes.push_back(axis);
  return axes;
}

inline void infer_norm_constraint(InferContext& c) {
  const TensorType& type = c.operand("parameter");
  const auto rank = static_cast<std::int64_t>(type.dims.size());
  const std::vector<std::int64_t>& given = c.attributes().integers("axis");
  for (std::int64_t axis : given)
    if (axis >= rank || axis < -rank)
      c.fail(1, "axis " + std::to_string(axis) + " does not exist, the parameter is " + to_string(type.dims));
  const std::vector<std::int64_t> axes = norm_axes(c.attributes(), rank);
  for (std::size_t i = 1; i < axes.size(); ++i)
    if (axes[i] == axes[i - 1]) c.fail(2, "axis " + std::to_string(axes[i]) + " is named twice");
}

inline void lower_norm_constraint(LowerContext& c, const NormRange& range) {
  const LoweredType type = c.operand("parameter");
  c.kernel("limit_norm")
      .update("parameter", "parameter")
      .set("axes", norm_axes(c.attributes(), static_cast<std::int64_t>(type.shape.dims.size())))
      .set("least", range.least)
      .set("most", range.most)
      .set("rate", range.rate)
      .emit();
}

/// The group of an entry: its index along the other axes.
inline std::int64_t norm_group(const Dims& dims, const std::vector<std::int64_t>& axes, std::int64_t entry) {
  std::int64_t group = 0, scale = 1;
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    const std::int64_t at = entry % dims[axis];
    entry /= dims[axis];
    bool along = false;
    for (std::int64_t each : axes) along = along || each == static_cast<std::int64_t>(axis);
    if (along) continue;
    group += at * scale;
    scale *= dims[axis];
  }
  return group;
}

inline void norm_constraint_reference(ReferenceContext& c, const NormRange& range) {
  Array& w = c.operand("parameter");
  const std::vector<std::int64_t> axes = norm_axes(c.attributes(), static_cast<std::int64_t>(w.dims.size()));
  std::vector<double> norms(w.data.size(), 0);
  for (std::int64_t i = 0; i < w.count(); ++i)
    norms[static_cast<std::size_t>(norm_group(w.dims, axes, i))] += w[i] * w[i];
  for (double& norm : norms) norm = std::sqrt(norm);
  for (std::int64_t i = 0; i < w.count(); ++i) {
    const double norm = norms[static_cast<std::size_t>(norm_group(w.dims, axes, i))];
    const double clipped = std::min(std::max(norm, range.least), range.most);
    w[i] *= (range.rate * clipped + (1 - range.rate) * norm) / (1e-7 + norm);
  }
}

}  // namespace weir::ops
