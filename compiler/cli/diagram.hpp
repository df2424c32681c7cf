// The network as a drawing: inputs, layers and the losses attached to them, as Graphviz text or as an SVG of our own.
#pragma once

#include <string>
#include <vector>

#include "compiler/cli/layered_layout.hpp"
#include "compiler/explain.hpp"
#include "compiler/spec/spec.hpp"

namespace weir::cli {

struct DiagramNode {
  enum class Kind { input, layer, trained_term, watched_term, excluded_term } kind = Kind::layer;
  std::string name;
  std::vector<std::string> lines;  ///< what stands in the box
  bool stops = false;              ///< a layer with stop_gradient
};

struct Diagram {
  std::string title;
  std::vector<DiagramNode> nodes;  ///< every source stands before what reads it
  struct Edge {
    std::size_t from = 0, to = 0;  ///< indices into nodes
    std::string port;              ///< "linear", "1", or ""
    std::string value;             ///< the graph's name of what it carries
  };
  std::vector<Edge> edges;
};

/// graph: the specification's forward graph, for shapes.
Diagram make_diagram(const Spec& spec, const Graph& graph, const Explanation& explanation);

std::string to_dot(const Diagram& diagram);

/// Shared by the drawings: the size of a node's box, and the box.
LayoutBox box_of(const DiagramNode& node);
std::string svg_box(const DiagramNode& node, const PlacedBox& box);
/// end: where the edge comes in.
std::string svg_port(const Diagram::Edge& edge, Point end);
extern const std::string svg_arrow;  ///< the marker "arrow"

/// Rows by longest way from an input; nothing is placed by chance, so equal specifications give equal drawings.
std::string to_svg(const Diagram& diagram);

}  // namespace weir::cli
