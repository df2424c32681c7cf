// A tensor seen as a matrix: every axis but the last makes rows.
#pragma once

#include "runtime/layout.hpp"

namespace weir::ops {

/// [B, …, n] as [rows, n].
inline Dims rows_of(const Shape& shape) {
  const std::int64_t last = shape.dims.back();
  return {last ? element_count(shape.dims) / last : 0, last};
}

}  // namespace weir::ops
