// Types of values in the graph: mathematics without memory.
#pragma once

#include <string>

#include "runtime/layout.hpp"
#include "runtime/tensor.hpp"

namespace weir {

/// Per-sample dimensions with an implied batch axis in front (batched), or the whole tensor (a parameter, a scalar).
struct TensorType {
  DType dtype = DType::f32;
  Dims dims;
  bool batched = true;
  bool operator==(const TensorType&) const = default;
};

inline TensorType batched(Dims dims, DType dtype = DType::f32) { return {dtype, std::move(dims), true}; }
inline TensorType unbatched(Dims dims, DType dtype = DType::f32) { return {dtype, std::move(dims), false}; }
inline TensorType scalar_type() { return {DType::f64, {}, false}; }

/// With the batch in front where batched.
Dims full_dims(const TensorType& type, std::int64_t batch);

/// "f32[B, 28, 28, 1]", "f32[3, 3, 1, 32]", "f64[]"
std::string to_string(const TensorType& type);

}  // namespace weir
