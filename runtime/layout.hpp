// Named physical layouts of a tensor.
//
// A tensor has canonical axes, the letters of its dimensions in host order ("nhwc" for images, "nc" for rows of
// features, "hwio" for a convolution kernel, "io" for a dense kernel, "o" for a bias). A layout is a word over the same
// letters, outermost first: "nhwc" is dense in host order, "nChw16c" keeps 16 channels together at the end,
// "OIhw16i16o" blocks both channel axes. A capital letter marks an axis that is blocked further right; a blocked axis
// is padded to a multiple of its block and the padding holds zeros. The words are oneDNN's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.hpp"

namespace weir {

/// One tensor's dimensions (canonical order), axis letters and layout. layout may be "any" while a recipe is open.
struct Shape {
  Dims dims;
  std::string axes;
  std::string layout;
  bool operator==(const Shape&) const = default;
};

/// Throws Error(invalid_data) where the layout is no word over the axes.
void check_layout(const Shape& shape);

/// Elements with padding; checked for overflow.
std::int64_t physical_count(const Shape& shape);

/// Where the entries of one axis lie, relative to its first, padding included. Where an entry lies is the sum of these
/// over all axes.
std::vector<std::int64_t> places_along(const Shape& shape, std::size_t axis);

/// True where the layout is the canonical order without padding, up to axes of extent 1: the host's bytes are the
/// tensor's bytes.
bool is_dense(const Shape& shape);

/// dst must hold physical_count elements of 4 bytes, src the dense canonical ones; padding becomes zero. And the way
/// back.
void pack(const Shape& shape, const void* dense, void* physical);
void unpack(const Shape& shape, const void* physical, void* dense);

/// Canonical axis letters of a value with a batch axis and `rank` further ones: "n", "nc", "nwc", "nhwc", "ndhwc";
/// beyond, "n" and p, q, r, ….
std::string activation_axes(std::size_t rank_per_sample);

}  // namespace weir
