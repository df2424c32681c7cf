#include "runtime/layout.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

#include "runtime/error.hpp"

namespace weir {
namespace {

/// One loop of the physical order: which axis it walks, how many steps, how far one step goes on that axis.
struct Loop {
  std::size_t axis;
  std::int64_t extent;
  std::int64_t step;
};

[[noreturn]] void bad(const Shape& shape, const std::string& why) {
  throw Error(ErrorCode::invalid_data, "layout \"" + shape.layout + "\" does not fit axes \"" + shape.axes + "\" " +
                                           to_string(shape.dims) + ": " + why);
}

constexpr std::int64_t largest_block = 1 << 20;

struct Block {
  std::size_t axis;
  std::int64_t size;
};

struct Parsed {
  std::vector<std::size_t> outer;
  std::vector<Block> blocks;
};

/// The layout is the axes in their order, each a small letter that stands once: nothing is left to read. Most layouts
/// are.
bool is_canonical(const Shape& shape) {
  if (shape.layout != shape.axes || shape.axes.size() != shape.dims.size()) return false;
  std::uint32_t seen = 0;
  for (const char letter : shape.axes) {
    if (letter < 'a' || letter > 'z' || (seen >> (letter - 'a') & 1) != 0) return false;
    seen |= std::uint32_t{1} << (letter - 'a');
  }
  return true;
}

Parsed parse(const Shape& shape) {
  if (shape.axes.size() != shape.dims.size()) bad(shape, "one letter for each dimension is needed");
  Parsed parsed;
  std::vector<int> seen(shape.axes.size(), 0), blocked(shape.axes.size(), 0), capital(shape.axes.size(), 0);
  for (std::size_t i = 0; i < shape.layout.size();) {
    std::int64_t size = 0;
    const bool block = std::isdigit(static_cast<unsigned char>(shape.layout[i]));
    while (i < shape.layout.size() && std::isdigit(static_cast<unsigned char>(shape.layout[i]))) {
      size = size * 10 + (shape.layout[i++] - '0');
      if (size > 4096) bad(shape, "a block is larger than 4096");
    }
    if (i == shape.layout.size()) bad(shape, "it ends with a number");
    const char letter = shape.layout[i++];
    const auto axis = shape.axes.find(static_cast<char>(std::tolower(static_cast<unsigned char>(letter))));
    if (axis == std::string::npos) bad(shape, std::string("there is no axis ") + letter);
    if (block && size == 0) bad(shape, "a block is empty");
    if (block) {
      parsed.blocks.push_back({axis, size});
      blocked[axis] = 1;
      continue;
    }
    if (!parsed.blocks.empty()) bad(shape, "a plain axis follows a block");
    if (seen[axis]++) bad(shape, std::string("axis ") + letter + " stands twice");
    capital[axis] = std::isupper(static_cast<unsigned char>(letter)) ? 1 : 0;
    parsed.outer.push_back(axis);
  }
  for (std::size_t axis = 0; axis < seen.size(); ++axis) {
    if (!seen[axis]) bad(shape, std::string("axis ") + shape.axes[axis] + " is missing");
    if (blocked[axis] != capital[axis])
      bad(shape, std::string("capital letter and block disagree for axis ") + shape.axes[axis]);
  }
  return parsed;
}

std::vector<Loop> loops(const Shape& shape) {
  const Parsed parsed = parse(shape);
  std::vector<std::int64_t> unit(shape.axes.size(), 1);
  for (const Block& block : parsed.blocks) {
    unit[block.axis] *= block.size;
    if (unit[block.axis] > largest_block) bad(shape, "its blocks are too large");
  }
  std::vector<Loop> result;
  for (std::size_t axis : parsed.outer)
    result.push_back({axis, (shape.dims[axis] + unit[axis] - 1) / unit[axis], unit[axis]});
  for (const Block& block : parsed.blocks) {
    unit[block.axis] /= block.size;
    result.push_back({block.axis, block.size, unit[block.axis]});
  }
  return result;
}

/// Calls visit(physical index, dense index or -1 in the padding), in physical order. The innermost loop goes by its
/// stride; the position is worked out once for each of its runs.
template <class Visit>
void walk(const Shape& shape, const Visit& visit) {
  std::vector<Loop> order = loops(shape);
  const std::size_t rank = shape.dims.size();
  if (rank == 0) return visit(0, 0);
  const Loop inner = order.back();
  order.pop_back();
  std::vector<std::int64_t> stride(rank, 1), position(order.size(), 0), index(rank, 0);
  for (std::size_t axis = rank; axis-- > 1;) stride[axis - 1] = stride[axis] * shape.dims[axis];
  const std::int64_t count = physical_count(shape), stretch = inner.step * stride[inner.axis];
  for (std::int64_t physical = 0; physical < count; physical += inner.extent) {
    bool inside = true;
    std::int64_t dense = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) {
      inside = inside && index[axis] < shape.dims[axis];
      dense += index[axis] * stride[axis];
    }
    const std::int64_t left = inside ? (shape.dims[inner.axis] - index[inner.axis] + inner.step - 1) / inner.step : 0;
    const std::int64_t real = std::min(left, inner.extent);
    for (std::int64_t i = 0; i < real; ++i) visit(physical + i, dense + i * stretch);
    for (std::int64_t i = real; i < inner.extent; ++i) visit(physical + i, -1);
    for (std::size_t i = order.size(); i-- > 0;) {
      index[order[i].axis] += order[i].step;
      if (++position[i] < order[i].extent) break;
      index[order[i].axis] -= order[i].step * order[i].extent;
      position[i] = 0;
    }
  }
}

}  // namespace

void check_layout(const Shape& shape) {
  if (!is_canonical(shape)) parse(shape);
}

std::int64_t physical_count(const Shape& shape) {
  if (is_canonical(shape)) return element_count(shape.dims);
  Dims extents;
  for (const Loop& loop : loops(shape)) extents.push_back(loop.extent);
  return element_count(extents);
}

std::vector<std::int64_t> places_along(const Shape& shape, std::size_t axis) {
  const std::vector<Loop> order = loops(shape);
  std::int64_t padded = 1;
  for (const Loop& loop : order)
    if (loop.axis == axis) padded *= loop.extent;
  std::vector<std::int64_t> places(static_cast<std::size_t>(padded), 0);
  std::int64_t stride = 1;
  for (auto loop = order.rbegin(); loop != order.rend(); stride *= loop++->extent)
    for (std::int64_t i = 0; loop->axis == axis && i < padded; ++i)
      places[static_cast<std::size_t>(i)] += i / loop->step % loop->extent * stride;
  return places;
}

bool is_dense(const Shape& shape) {
  if (shape.layout == shape.axes) return true;
  std::size_t at = 0;
  const Parsed parsed = parse(shape);
  if (!parsed.blocks.empty()) return false;
  for (std::size_t axis : parsed.outer) {
    if (shape.dims[axis] == 1) continue;
    while (at < shape.dims.size() && shape.dims[at] == 1) ++at;
    if (axis != at++) return false;
  }
  return true;
}

void pack(const Shape& shape, const void* dense, void* physical) {
  if (is_dense(shape)) {
    std::memcpy(physical, dense, static_cast<std::size_t>(physical_count(shape)) * 4);
    return;
  }
  const auto* from = static_cast<const std::uint32_t*>(dense);
  auto* to = static_cast<std::uint32_t*>(physical);
  walk(shape, [&](std::int64_t p, std::int64_t d) { to[p] = d < 0 ? std::uint32_t{0} : from[d]; });
}

void unpack(const Shape& shape, const void* physical, void* dense) {
  if (is_dense(shape)) {
    std::memcpy(dense, physical, static_cast<std::size_t>(physical_count(shape)) * 4);
    return;
  }
  const auto* from = static_cast<const std::uint32_t*>(physical);
  auto* to = static_cast<std::uint32_t*>(dense);
  walk(shape, [&](std::int64_t p, std::int64_t d) {
    if (d >= 0) to[d] = from[p];
  });
}

std::string activation_axes(std::size_t rank_per_sample) {
  switch (rank_per_sample) {
    case 0:
      return "n";
    case 1:
      return "nc";
    case 2:
      return "nwc";
    case 3:
      return "nhwc";
    case 4:
      return "ndhwc";
    default:
      return std::string("npqrstuvw").substr(0, rank_per_sample + 1);
  }
}

}  // namespace weir
