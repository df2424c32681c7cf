#include "compiler/cli/diagram.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "compiler/cli/text.hpp"

namespace weir::cli {
namespace {

using Kind = DiagramNode::Kind;

std::string shape_of(const Graph& graph, const std::string& node) {
  const ValueId value = graph.find(node);
  return value == none ? "" : to_string(graph.at(value).type.dims);
}

Kind kind_of(const TermExplanation& term) {
  switch (term.role) {
    case TermRole::watched:
      return Kind::watched_term;
    case TermRole::excluded:
      return Kind::excluded_term;
    case TermRole::trained:
      break;
  }
  return Kind::trained_term;
}

std::string role_text(const TermExplanation& term) {
  switch (term.role) {
    case TermRole::watched:
      return "watched";
    case TermRole::excluded:
      return "excluded";
    case TermRole::trained:
      break;
  }
  return "× " + (term.schedule.empty() ? shortest(term.weight) : term.schedule);
}

/// Builds a diagram; nodes must come after what they read.
class DiagramBuilder {
 public:
  explicit DiagramBuilder(std::string title) { diagram_.title = std::move(title); }

  void node(Kind kind, const std::string& name, std::vector<std::string> lines) {
    index_[name] = diagram_.nodes.size();
    diagram_.nodes.push_back({kind, name, std::move(lines)});
  }

  /// reference: "conv_1", "conv_1:linear".
  void edge_to_last(const std::string& reference) {
    const std::size_t colon = reference.find(':');
    const auto found = index_.find(reference.substr(0, colon));
    if (found == index_.end()) return;
    diagram_.edges.push_back(
        {found->second, diagram_.nodes.size() - 1, colon == std::string::npos ? "" : reference.substr(colon + 1)});
  }

  bool knows(const std::string& reference) const { return index_.contains(reference.substr(0, reference.find(':'))); }
  Diagram take() { return std::move(diagram_); }

 private:
  Diagram diagram_;
  std::map<std::string, std::size_t> index_;
};

void add_layer(DiagramBuilder& builder, const LayerSpec& layer, const Graph& graph) {
  builder.node(Kind::layer, layer.name, {layer.name, std::string(layer.op->name), shape_of(graph, layer.name)});
  for (const auto& from : layer.from) builder.edge_to_last(from.value);
}

/// The file's order is free where `from` is given; here sources come first.
void add_layers(DiagramBuilder& builder, const Spec& spec, const Graph& graph) {
  std::vector<const LayerSpec*> waiting;
  for (const LayerSpec& layer : spec.layers) waiting.push_back(&layer);
  while (!waiting.empty()) {
    const auto ready = std::find_if(waiting.begin(), waiting.end(), [&](const LayerSpec* layer) {
      return std::all_of(layer->from.begin(), layer->from.end(),
                         [&](const auto& from) { return from.value.empty() || builder.knows(from.value); });
    });
    if (ready == waiting.end()) return;
    add_layer(builder, **ready, graph);
    waiting.erase(ready);
  }
}

std::string escaped(const std::string& text, bool xml) {
  std::string result;
  for (char c : text) {
    if (xml && c == '&')
      result += "&amp;";
    else if (xml && c == '<')
      result += "&lt;";
    else if (xml && c == '>')
      result += "&gt;";
    else if (!xml && (c == '"' || c == '\\'))
      result += std::string("\\") + c;
    else
      result += c;
  }
  return result;
}

std::string dot_style(Kind kind) {
  switch (kind) {
    case Kind::input:
      return "shape=ellipse";
    case Kind::layer:
      return "shape=box";
    case Kind::trained_term:
      return "shape=hexagon";
    case Kind::watched_term:
      return "shape=hexagon, style=dotted";
    case Kind::excluded_term:
      return "shape=hexagon, style=dashed, color=gray";
  }
  return "";
}

// ---- SVG: rows from top to bottom, boxes of one size.

constexpr const char* svg_head =
    R"svg(<svg xmlns="http://www.w3.org/2000/svg" {} font-family="sans-serif" font-size="13">
<title>{}</title>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
<path d="M0 0L8 4L0 8z" fill="#777777"/></marker></defs>
)svg";

constexpr int box_width = 190, box_height = 62, column_gap = 30, row_gap = 44, margin = 20;

struct Placement {
  std::vector<int> row, column;
  int rows = 0, columns = 0;
};

Placement place(const Diagram& diagram) {
  Placement placement;
  placement.row.resize(diagram.nodes.size());
  for (const auto& edge : diagram.edges)  // edges stand in the order of their targets, so sources are settled
    placement.row[edge.to] = std::max(placement.row[edge.to], placement.row[edge.from] + 1);
  std::map<int, int> used;
  for (int row : placement.row) {
    placement.column.push_back(used[row]++);
    placement.rows = std::max(placement.rows, row + 1);
    placement.columns = std::max(placement.columns, used[row]);
  }
  return placement;
}

int left_of(const Placement& placement, std::size_t node) {
  return margin + placement.column[node] * (box_width + column_gap);
}
int top_of(const Placement& placement, std::size_t node) {
  return margin + placement.row[node] * (box_height + row_gap);
}

std::string svg_style(Kind kind) {
  switch (kind) {
    case Kind::input:
      return R"(fill="#e8f1fb" stroke="#3b6ea5" rx="28")";
    case Kind::layer:
      return R"(fill="#ffffff" stroke="#444444" rx="4")";
    case Kind::trained_term:
      return R"(fill="#fdf0d9" stroke="#b06f00" rx="14")";
    case Kind::watched_term:
      return R"(fill="#ffffff" stroke="#b06f00" rx="14" stroke-dasharray="2 3")";
    case Kind::excluded_term:
      return R"(fill="#f4f4f4" stroke="#999999" rx="14" stroke-dasharray="7 4")";
  }
  return "";
}

std::string svg_edge(const Diagram::Edge& edge, const Placement& placement) {
  const int x1 = left_of(placement, edge.from) + box_width / 2, y1 = top_of(placement, edge.from) + box_height;
  const int x2 = left_of(placement, edge.to) + box_width / 2, y2 = top_of(placement, edge.to);
  const int bend = (y2 - y1) / 2;
  std::string text = fmt::format(
      R"svg(<path d="M{} {} C{} {} {} {} {} {}" fill="none" stroke="#777777" marker-end="url(#arrow)"/>)svg", x1, y1,
      x1, y1 + bend, x2, y2 - bend, x2, y2);
  if (!edge.port.empty())
    text += fmt::format(R"(<text x="{}" y="{}" font-size="10">:{}</text>)", x1 + 6, y1 + 12, escaped(edge.port, true));
  return text + '\n';
}

std::string svg_node(const DiagramNode& node, int left, int top) {
  std::string text = fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" {}/>)", left, top, box_width, box_height,
                                 svg_style(node.kind));
  int line = top + 18;
  for (const std::string& content : node.lines) {
    text += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle"{}>{}</text>)", left + box_width / 2, line,
                        line == top + 18 ? R"( font-weight="bold")" : "", escaped(content, true));
    line += 17;
  }
  return text + '\n';
}

}  // namespace

Diagram make_diagram(const Spec& spec, const Graph& graph, const Explanation& explanation) {
  DiagramBuilder builder(spec.name);
  for (const auto& input : spec.inputs) builder.node(Kind::input, input.name, {input.name, to_string(input.shape)});
  add_layers(builder, spec, graph);
  for (const TermExplanation& term : explanation.terms) {
    builder.node(kind_of(term), term.name, {term.name, term.type, role_text(term)});
    builder.edge_to_last(term.at.substr(0, term.at.find('.')));  // a parameter's layer
    const bool reads_node = term.target.starts_with("input ") || term.target.starts_with("node ");
    if (reads_node) builder.edge_to_last(term.target.substr(term.target.find(' ') + 1));
  }
  return builder.take();
}

std::string to_dot(const Diagram& diagram) {
  std::string text =
      fmt::format("digraph \"{}\" {{\n  node [fontname=\"sans-serif\"];\n", escaped(diagram.title, false));
  for (const DiagramNode& node : diagram.nodes) {
    std::string label;
    for (const std::string& line : node.lines) label += (label.empty() ? "" : "\\n") + escaped(line, false);
    text += fmt::format("  \"{}\" [{}, label=\"{}\"];\n", escaped(node.name, false), dot_style(node.kind), label);
  }
  for (const auto& edge : diagram.edges) {
    const std::string label = edge.port.empty() ? "" : fmt::format(" [label=\":{}\"]", escaped(edge.port, false));
    text += fmt::format("  \"{}\" -> \"{}\"{};\n", escaped(diagram.nodes[edge.from].name, false),
                        escaped(diagram.nodes[edge.to].name, false), label);
  }
  return text + "}\n";
}

std::string to_svg(const Diagram& diagram) {
  const Placement placement = place(diagram);
  const int width = 2 * margin + placement.columns * (box_width + column_gap) - column_gap;
  const int height = 2 * margin + placement.rows * (box_height + row_gap) - row_gap;
  const std::string size = fmt::format(R"(width="{0}" height="{1}" viewBox="0 0 {0} {1}")", width, height);
  std::string text = fmt::format(svg_head, size, escaped(diagram.title, true));
  for (const auto& edge : diagram.edges) text += svg_edge(edge, placement);
  for (std::size_t i = 0; i < diagram.nodes.size(); ++i)
    text += svg_node(diagram.nodes[i], left_of(placement, i), top_of(placement, i));
  return text + "</svg>\n";
}

}  // namespace weir::cli
