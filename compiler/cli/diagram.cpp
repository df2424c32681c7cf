#include "compiler/cli/diagram.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "compiler/cli/svg.hpp"
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

  /// reference: "conv_1", "conv_1:linear", "conv_1.kernel" (of its layer).
  void edge_to_last(const std::string& reference, const Graph& graph) {
    const std::size_t end = reference.find_first_of(":.");
    const auto found = index_.find(reference.substr(0, end));
    if (found == index_.end()) return;
    const bool port = end != std::string::npos && reference[end] == ':';
    const ValueId value = graph.find(reference);
    diagram_.edges.push_back({found->second, diagram_.nodes.size() - 1, port ? reference.substr(end + 1) : "",
                              value == none ? reference : graph.at(value).name});
  }
  void stop_last() { diagram_.nodes.back().stops = true; }

  bool knows(const std::string& reference) const { return index_.contains(reference.substr(0, reference.find(':'))); }
  Diagram take() { return std::move(diagram_); }

 private:
  Diagram diagram_;
  std::map<std::string, std::size_t> index_;
};

std::string type_text(const LayerSpec& layer) {
  std::string text(layer.op->name);
  if (!layer.share.empty()) text += ", shares " + layer.share;
  return layer.trainable ? text : text + ", frozen";
}

void add_layer(DiagramBuilder& builder, const LayerSpec& layer, const Graph& graph) {
  builder.node(Kind::layer, layer.name, {layer.name, type_text(layer), shape_of(graph, layer.name)});
  if (layer.stop_gradient) builder.stop_last();
  for (const auto& from : layer.from) builder.edge_to_last(from.value, graph);
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

std::string escaped(const std::string& text) {
  std::string result;
  for (char c : text) result += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
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

// ---- SVG: rows from top to bottom.

constexpr const char* svg_head =
    R"svg(<svg xmlns="http://www.w3.org/2000/svg" {} font-family="sans-serif" font-size="13">
<title>{}</title>
<defs>{}</defs>
)svg";

constexpr double font = 13, line_height = 17, first_line = 18, least_width = 130, most_width = 320, margin = 20;

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

/// Null for a regularizer.
const TermSpec* spec_of(const Spec& spec, const std::string& term) {
  for (const TermSpec& each : spec.loss->terms)
    if (each.name == term) return &each;
  return nullptr;
}

}  // namespace

Diagram make_diagram(const Spec& spec, const Graph& graph, const Explanation& explanation) {
  DiagramBuilder builder(spec.name);
  for (const auto& input : spec.inputs) builder.node(Kind::input, input.name, {input.name, to_string(input.shape)});
  add_layers(builder, spec, graph);
  for (const TermExplanation& term : explanation.terms) {
    builder.node(kind_of(term), term.name, {term.name, term.type, role_text(term)});
    builder.edge_to_last(term.at, graph);
    for (const char* kind : {"input ", "node "})
      if (term.target.starts_with(kind)) {
        const std::string rest = term.target.substr(std::string(kind).size());
        builder.edge_to_last(rest.substr(0, rest.find(',')), graph);  // "node code, which learns too"
      }
    if (const TermSpec* written = spec_of(spec, term.name))
      for (const auto& input : {written->sample_weight, written->mask})
        if (input) builder.edge_to_last(input->value, graph);
  }
  return builder.take();
}

std::string to_dot(const Diagram& diagram) {
  std::string text = fmt::format("digraph \"{}\" {{\n  node [fontname=\"sans-serif\"];\n", escaped(diagram.title));
  for (const DiagramNode& node : diagram.nodes) {
    std::string label;
    for (const std::string& line : node.lines) label += (label.empty() ? "" : "\\n") + escaped(line);
    text += fmt::format("  \"{}\" [{}, label=\"{}\"];\n", escaped(node.name), dot_style(node.kind), label);
  }
  for (const auto& edge : diagram.edges) {
    const std::string label = edge.port.empty() ? "" : fmt::format(" [label=\":{}\"]", escaped(edge.port));
    text += fmt::format("  \"{}\" -> \"{}\"{};\n", escaped(diagram.nodes[edge.from].name),
                        escaped(diagram.nodes[edge.to].name), label);
  }
  return text + "}\n";
}

const std::string svg_arrow =
    R"svg(<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">)svg"
    R"svg(<path d="M0 0L8 4L0 8z" fill="#777777"/></marker>)svg";

LayoutBox box_of(const DiagramNode& node) {
  double width = least_width;
  for (std::size_t i = 0; i < node.lines.size(); ++i)
    width = std::max(width, text_width(node.lines[i], font, i == 0) + 20);
  return {std::min(width, most_width), 11 + line_height * static_cast<double>(node.lines.size())};
}

std::string svg_box(const DiagramNode& node, const PlacedBox& box) {
  std::string text = fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" {}/>)", box.x, box.y,
                                 box.width, box.height, svg_style(node.kind));
  for (std::size_t i = 0; i < node.lines.size(); ++i)
    text +=
        fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle"{}>{}</text>)", box.x + box.width / 2,
                    box.y + first_line + line_height * static_cast<double>(i), i == 0 ? R"( font-weight="bold")" : "",
                    xml_escaped(shortened(node.lines[i], box.width - 12, font, i == 0)));
  return text + '\n';
}

std::string svg_port(const Diagram::Edge& edge, Point end) {
  if (edge.port.empty()) return "";
  return fmt::format(
      R"(<text x="{:.1f}" y="{:.1f}" font-size="10" text-anchor="end" stroke="#ffffff" stroke-width="3" )"
      R"(paint-order="stroke">:{}</text>)",
      end.x - 7, end.y - 10, xml_escaped(edge.port));
}

std::string to_svg(const Diagram& diagram) {
  std::vector<LayoutBox> boxes;
  std::vector<LayoutEdge> edges;
  for (const DiagramNode& node : diagram.nodes) boxes.push_back(box_of(node));
  for (const auto& edge : diagram.edges) edges.push_back({edge.from, edge.to, 8});
  const Layout layout = layered_layout(boxes, edges);
  const std::string size = fmt::format(R"(width="{0:.0f}" height="{1:.0f}" viewBox="{2:.0f} {2:.0f} {0:.0f} {1:.0f}")",
                                       layout.width + 2 * margin, layout.height + 2 * margin, -margin);
  std::string text = fmt::format(svg_head, size, xml_escaped(diagram.title), svg_arrow);
  for (std::size_t i = 0; i < edges.size(); ++i)
    text += fmt::format(R"svg(<path d="{}" fill="none" stroke="#777777" marker-end="url(#arrow)"/>)svg",
                        path_data(layout.edges[i], 0, false)) +
            svg_port(diagram.edges[i], layout.edges[i].back()) + '\n';
  for (std::size_t i = 0; i < boxes.size(); ++i) text += svg_box(diagram.nodes[i], layout.boxes[i]);
  return text + "</svg>\n";
}

}  // namespace weir::cli
