// What the optimizers have in common. Keras' keys that every optimizer has (weight_decay, clipnorm, use_ema, …) are the
// parser's.
#pragma once

#include "compiler/ir/op.hpp"

namespace weir::ops {

/// Largest |g| that an update takes: its square is finite in f32, and times the largest learning rate it is far from
/// overflow, so a step from finite values leads to finite values.
inline constexpr double largest_gradient = 1e18;

inline AttributeDef learning_rate_attribute(double standard) {
  return {.name = "learning_rate",
          .doc = "step size; the host may change it between steps",
          .standard = standard,
          .least = 0,
          .most = 1e9};
}

/// An optimizer has no results: its infer has nothing to say.
inline void infer_update(InferContext&) {}

}  // namespace weir::ops
