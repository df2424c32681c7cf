// Places of boxes and ways of lines in a drawing from top to bottom: rows by longest way, order within a row by where
// the neighbours stand, long lines led between the boxes of the rows that they pass.
#pragma once

#include <cstddef>
#include <vector>

namespace weir::cli {

struct Point {
  double x = 0, y = 0;
};

struct LayoutBox {
  double width = 0, height = 0;
};

struct PlacedBox {
  double x = 0, y = 0;  ///< left upper corner
  double width = 0, height = 0;
};

struct LayoutEdge {
  std::size_t from = 0, to = 0;  ///< indices of boxes; from stands above to
  double width = 0;              ///< what its lines take, side by side
};

struct Layout {
  std::vector<PlacedBox> boxes;           ///< wider than asked for where many lines end
  std::vector<std::vector<Point>> edges;  ///< from the lower side of `from` to the upper side of `to`: straight down
                                          ///< beside boxes, bent between rows
  double width = 0, height = 0;
};

/// edges: every source stands before what reads it, and edges are in the order of their targets. The same for equal
/// arguments on every machine.
Layout layered_layout(const std::vector<LayoutBox>& boxes, const std::vector<LayoutEdge>& edges);

}  // namespace weir::cli
