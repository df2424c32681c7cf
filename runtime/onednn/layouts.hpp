// Our shapes and oneDNN's memory descriptors.
//
// oneDNN numbers dimensions in an order of its own: n, c, then the spatial ones for activations; g, o, i, then the
// spatial ones for weights (o, i for dense ones). Our letters are mapped to a, b, c, … by that order, so "nChw16c" is
// oneDNN's aBcd16b and "OIhw16i16o" its ABcd16b16a. Plain layouts are described by strides, blocked ones by the tag of
// that name.
#pragma once

#include <string>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include "runtime/layout.hpp"

namespace weir {

/// The letters in oneDNN's order: "nhwc" → "nchw", "hwio" → "oihw", "hwigo" → "goihw", "io" → "oi"; other axes stay as
/// they are.
std::string logical_axes(const std::string& axes);

/// Numbers that follow the axes (extents) from canonical to oneDNN's order.
dnnl::memory::dims logical_dims(const Dims& dims, const std::string& axes);

dnnl::memory::data_type to_dnnl(DType dtype);  ///< throws Error(invalid_data) for f64, which no primitive takes
DType from_dnnl(dnnl::memory::data_type type);

/// A layout of "any" gives a descriptor with format_tag::any. Throws Error(invalid_data) for a blocked layout that
/// oneDNN has no tag for.
dnnl::memory::desc to_desc(const Shape& shape, DType dtype);

/// The layout word of a descriptor over these axes: the canonical one, else the first in oneDNN's order of tags; one
/// that agrees also in the strides of axes of extent 1 goes before one with the same bytes alone. Empty where it has no
/// name.
std::string layout_of(const dnnl::memory::desc& desc, const std::string& axes);

}  // namespace weir
