#include "compiler/cli/explain_drawing.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/svg.hpp"

namespace weir::cli {
namespace {

/// Told apart with every common kind of colour blindness (M. Okabe and K. Ito, "Color universal design", 2008); their
/// yellow is too pale for a line on white.
constexpr std::array colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
constexpr std::array dashes{"", "7 3", "2 3", "9 3 2 3"};  ///< for terms beyond the palette

constexpr double margin = 20, line_apart = 7, line_width = 2.6;
constexpr double chip_height = 17, chip_font = 10, chip_gap = 5, chip_room = 24;
constexpr double legend_row = 20, legend_font = 12, column_gap = 18, swatch = 40;

struct Pen {
  std::string colour, dash, arrow;
  std::string stroke(double width) const {
    return fmt::format(R"(stroke="{}" stroke-width="{:.1f}"{})", colour, width,
                       dash.empty() ? "" : fmt::format(R"( stroke-dasharray="{}")", dash));
  }
};

/// One term on one edge: its gradient passes, or ends there.
struct Strand {
  std::size_t term = 0;
  bool ends = false;
};

struct Chip {
  const ParameterExplanation* parameter = nullptr;
  std::string label;
  double width = 0;
};

class ExplainDrawing {
 public:
  ExplainDrawing(const Diagram& diagram, const Explanation& explanation, const std::vector<TermCost>& costs)
      : diagram_(diagram), terms_(explanation.terms), explanation_(explanation), costs_(costs) {
    for (std::size_t i = 0; i < terms_.size(); ++i)
      pens_.push_back({colours[i % colours.size()], dashes[i / colours.size() % dashes.size()],
                       fmt::format("back_{}", i % colours.size())});
    collect_strands();
    collect_chips();
    lay_out();
  }

  std::string text() {
    const std::string legend = legend_text();
    const double width = std::max(layout_.width, legend_width_) + 2 * margin;
    const double height = legend_height_ + layout_.height + 2 * margin;
    std::string all =
        fmt::format(R"svg(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 )svg"
                    R"svg({0:.0f} {1:.0f}" )svg"
                    R"svg(font-family="sans-serif" font-size="13">)svg",
                    width, height);
    all += fmt::format("\n{}\n<defs>{}{}</defs>\n", svg_title(diagram_.title), svg_arrow, back_arrows());
    all += svg_rectangle(0, 0, width, height, R"(fill="#ffffff")") + '\n' + legend;
    all += fmt::format("<g transform=\"translate({:.1f} {:.1f})\">\n", (width - layout_.width) / 2,
                       legend_height_ + margin);
    for (std::size_t i = 0; i < diagram_.edges.size(); ++i) all += edge_text(i);
    for (std::size_t i = 0; i < diagram_.edges.size(); ++i) all += marks_text(i);
    for (std::size_t i = 0; i < diagram_.nodes.size(); ++i) all += node_text(i);
    return all + "</g>\n</svg>\n";
  }

 private:
  // ---- What is drawn

  std::size_t node_named(const std::string& name) const {
    const auto found = std::find_if(diagram_.nodes.begin(), diagram_.nodes.end(),
                                    [&](const DiagramNode& node) { return node.name == name; });
    return static_cast<std::size_t>(found - diagram_.nodes.begin());
  }

  /// Of a place in the graph: one, or more where a layer reads a value again. Where a term reads the logits behind its
  /// node, it has a line of its own to their layer.
  std::vector<std::size_t> edges_at(const Passage& place) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < diagram_.edges.size(); ++i)
      if (diagram_.edges[i].value == place.value && diagram_.nodes[diagram_.edges[i].to].name == place.reader)
        found.push_back(i);
    const std::size_t from = node_named(place.value.substr(0, place.value.find_first_of(":."))),
                      to = node_named(place.reader), nowhere = diagram_.nodes.size();
    if (!found.empty() || from == nowhere || to == nowhere || from == to) return found;
    for (std::size_t i = 0; i < diagram_.edges.size(); ++i)
      if (diagram_.edges[i].from == from && diagram_.edges[i].to == to) return {i};
    diagram_.edges.push_back({from, to, "", place.value});
    strands_.emplace_back();
    return {diagram_.edges.size() - 1};
  }

  void collect_strands() {
    of_data_ = diagram_.edges.size();
    strands_.resize(diagram_.edges.size());
    for (std::size_t term = 0; term < terms_.size(); ++term) {
      if (terms_[term].role != TermRole::trained) continue;
      for (const Passage& passage : terms_[term].route.passages) add_strand(passage, {term, false});
      for (const GradientCut& cut : terms_[term].route.cuts)
        if (cut.of_term) add_strand(cut.at, {term, true});
    }
  }

  void add_strand(const Passage& place, Strand strand) {
    const auto edges = edges_at(place);
    for (std::size_t edge : edges) strands_[edge].push_back(strand);
    if (edges.empty() && strand.ends)  // before the activation of one layer
      inner_cuts_[node_named(place.reader)].push_back(strand.term);
  }

  void collect_chips() {
    for (const ParameterExplanation& parameter : explanation_.parameters) {
      Chip chip{&parameter, parameter.name.substr(std::min(parameter.name.size(), parameter.layer.size() + 1)), 0};
      chip.width = std::max(text_width(chip.label, chip_font) + 14, 8 + 7.0 * static_cast<double>(shares(chip).size()));
      chips_[node_named(parameter.layer)].push_back(std::move(chip));
    }
  }

  void lay_out() {
    std::vector<LayoutBox> boxes;
    std::vector<LayoutEdge> edges;
    for (std::size_t i = 0; i < diagram_.nodes.size(); ++i) {
      LayoutBox box = box_of(diagram_.nodes[i]);
      if (const auto found = chips_.find(i); found != chips_.end()) {
        box.width = std::max(box.width, chips_width(found->second) + 16);
        box.height += chip_room;
      }
      boxes.push_back(box);
    }
    for (std::size_t i = 0; i < diagram_.edges.size(); ++i)
      edges.push_back({diagram_.edges[i].from, diagram_.edges[i].to, 10 + line_apart * static_cast<double>(lines(i))});
    layout_ = layered_layout(boxes, edges);
  }

  static double chips_width(const std::vector<Chip>& chips) {
    double width = -chip_gap;
    for (const Chip& chip : chips) width += chip.width + chip_gap;
    return width;
  }

  // ---- Edges: the grey one that data take, beside it one for each term, and a bar where a term's gradient ends.

  std::size_t lines(std::size_t edge) const { return strands_[edge].size() + (edge < of_data_ ? 1 : 0); }

  double shift_of(std::size_t edge, std::size_t line) const {
    return line_apart * (static_cast<double>(line) - (static_cast<double>(lines(edge)) - 1) / 2);
  }

  std::string edge_text(std::size_t index) const {
    const Diagram::Edge& edge = diagram_.edges[index];
    const std::vector<Point>& points = layout_.edges[index];
    std::string text;
    std::size_t line = 0;
    if (index < of_data_) {
      const double shift = shift_of(index, line++);
      text += fmt::format(
          R"svg(<path class="data" d="{}" fill="none" stroke="#9a9a9a"{} marker-end="url(#arrow)"/>)svg",
          path_data(points, shift, false), is_pale(edge) ? R"( stroke-opacity="0.5" stroke-dasharray="2 3")" : "");
    }
    for (const Strand& strand : strands_[index]) {
      const double shift = shift_of(index, line++);
      if (!strand.ends) text += gradient_text(edge, strand.term, path_data(points, shift, true));
    }
    return text + '\n';
  }

  /// Above all lines: bars where gradients end, and the name of a port.
  std::string marks_text(std::size_t index) const {
    const std::vector<Point>& points = layout_.edges[index];
    std::string text = svg_port(diagram_.edges[index], points.back());
    std::size_t line = index < of_data_ ? 1 : 0;
    for (const Strand& strand : strands_[index]) {
      const double shift = shift_of(index, line++);
      if (strand.ends)
        text += cut_text(diagram_.edges[index], strand.term, {points.front().x + shift, points.front().y});
    }
    return text;
  }

  bool is_pale(const Diagram::Edge& edge) const {
    const DiagramNode::Kind kind = diagram_.nodes[edge.to].kind;
    return kind == DiagramNode::Kind::watched_term || kind == DiagramNode::Kind::excluded_term;
  }

  std::string gradient_text(const Diagram::Edge& edge, std::size_t term, const std::string& data) const {
    const std::string &from = diagram_.nodes[edge.from].name, &to = diagram_.nodes[edge.to].name;
    return fmt::format(
        R"svg(<path class="gradient" data-term="{}" data-from="{}" data-to="{}" d="{}" fill="none" {} )svg"
        R"svg(marker-end="url(#{})">{}</path>)svg",
        xml_escaped(terms_[term].name), xml_escaped(to), xml_escaped(from), data, pens_[term].stroke(line_width),
        pens_[term].arrow, svg_title(fmt::format("gradient of {}: {} → {}", terms_[term].name, to, from)));
  }

  std::string cut_text(const Diagram::Edge& edge, std::size_t term, Point start) const {
    const std::string& at = diagram_.nodes[edge.from].name;
    const std::string data = fmt::format("M{:.1f} {:.1f}h9m-4.5 0v13", start.x - 4.5, start.y + 5);
    return fmt::format(
        R"svg(<path d="{0}" fill="none" stroke="#ffffff" stroke-width="6"/><path class="cut" data-term="{1}" )svg"
        R"svg(data-at="{2}" d="{0}" fill="none" stroke="{3}" stroke-width="3">{4}</path>)svg",
        data, xml_escaped(terms_[term].name), xml_escaped(at), pens_[term].colour,
        svg_title(fmt::format("the gradient of {} ends here: stop_at {}", terms_[term].name, edge.value)));
  }

  std::string back_arrows() const {
    std::string text;
    for (std::size_t i = 0; i < std::min(colours.size(), terms_.size()); ++i)
      text += fmt::format(
          R"svg(<marker id="back_{}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" )svg"
          R"svg(orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="{}"/></marker>)svg",
          i, colours[i]);
    return text;
  }

  // ---- Boxes

  std::string node_text(std::size_t index) const {
    const DiagramNode& node = diagram_.nodes[index];
    const bool pale = node.kind == DiagramNode::Kind::watched_term || node.kind == DiagramNode::Kind::excluded_term;
    std::string text =
        fmt::format(R"(<g class="node" data-name="{}"{}>)", xml_escaped(node.name), pale ? R"( opacity="0.45")" : "");
    text += svg_title(fmt::format("{}", fmt::join(node.lines, ", ")));
    text += svg_box(node, layout_.boxes[index]);
    for (std::size_t term = 0; term < terms_.size(); ++term)
      if (terms_[term].name == node.name && node.kind != DiagramNode::Kind::layer) text += term_edge(term, index);
    if (const auto found = chips_.find(index); found != chips_.end()) text += chips_text(found->second, index);
    if (node.stops) text += stop_text(index);
    if (const auto found = inner_cuts_.find(index); found != inner_cuts_.end())
      text += inner_cuts(found->second, index);
    return text + "</g>\n";
  }

  /// The term's colour along its box.
  std::string term_edge(std::size_t term, std::size_t index) const {
    const PlacedBox& corner = layout_.boxes[index];
    const double x = corner.x + 7, top = corner.y + 12, bottom = corner.y + layout_.boxes[index].height - 12;
    return fmt::format(R"(<path d="M{:.1f} {:.1f}V{:.1f}" {}/>)", x, top, bottom, pens_[term].stroke(5));
  }

  std::string stop_text(std::size_t index) const {
    const PlacedBox& corner = layout_.boxes[index];
    return fmt::format(
        R"svg(<path class="stop" data-at="{}" d="M{:.1f} {:.1f}h{:.1f}" fill="none" stroke="#000000" )svg"
        R"svg(stroke-width="5">{}</path>)svg",
        xml_escaped(diagram_.nodes[index].name), corner.x + 8, corner.y + layout_.boxes[index].height,
        layout_.boxes[index].width - 16, svg_title("stop_gradient: no term's gradient passes"));
  }

  std::string inner_cuts(const std::vector<std::size_t>& terms, std::size_t index) const {
    std::string text;
    double x = layout_.boxes[index].x + 6;
    for (std::size_t term : terms) {
      text += fmt::format(
          R"svg(<path class="cut" data-term="{}" data-at="{}:linear" d="M{:.1f} {:.1f}h12m-6 0v9" )svg"
          R"svg(fill="none" stroke="{}" stroke-width="3">{}</path>)svg",
          xml_escaped(terms_[term].name), xml_escaped(diagram_.nodes[index].name), x, layout_.boxes[index].y + 24,
          pens_[term].colour,
          svg_title(fmt::format("the gradient of {} ends before the activation: stop_at", terms_[term].name)));
      x += 15;
    }
    return text;
  }

  // ---- Parameters

  /// Terms with a part in the chip: those that train it, and those whose gradient gets there but is not used.
  std::vector<std::size_t> shares(const Chip& chip) const {
    std::vector<std::size_t> terms;
    for (std::size_t term = 0; term < terms_.size(); ++term)
      if (trains(chip, term) || passes_by(chip, term)) terms.push_back(term);
    return terms;
  }
  bool trains(const Chip& chip, std::size_t term) const {
    return chip.parameter->influences.at(terms_[term].name) == Influence::trained;
  }
  bool passes_by(const Chip& chip, std::size_t term) const {
    const std::string& reason = chip.parameter->reasons.at(terms_[term].name);
    return terms_[term].role == TermRole::trained &&
           (reason.starts_with("skip:") || reason.starts_with("not in only:"));
  }

  std::string chip_title(const Chip& chip) const {
    std::string text =
        fmt::format("{} {}: {}", chip.parameter->name, to_string(chip.parameter->dims), chip.parameter->reason);
    for (const auto& term : terms_)
      if (const std::string& reason = chip.parameter->reasons.at(term.name); !reason.empty())
        text += fmt::format("\n{}: {}", term.name, reason);
    return text;
  }

  std::string chips_text(const std::vector<Chip>& chips, std::size_t index) const {
    double x = layout_.boxes[index].x + (layout_.boxes[index].width - chips_width(chips)) / 2;
    const double y = layout_.boxes[index].y + layout_.boxes[index].height - chip_room;
    std::string text;
    for (const Chip& chip : chips) {
      text += chip_text(chip, x, y);
      x += chip.width + chip_gap;
    }
    return text;
  }

  std::string chip_text(const Chip& chip, double x, double y) const {
    std::vector<std::string> trained_by;
    const std::vector<std::size_t> parts = shares(chip);
    for (std::size_t term : parts)
      if (trains(chip, term)) trained_by.push_back(terms_[term].name);
    const bool learns = !trained_by.empty();
    std::string text =
        fmt::format(R"(<g class="parameter" data-name="{}" data-trained-by="{}">{})", xml_escaped(chip.parameter->name),
                    xml_escaped(fmt::format("{}", fmt::join(trained_by, " "))), svg_title(chip_title(chip)));
    text += svg_rectangle(
        x, y, chip.width, chip_height,
        learns ? R"(rx="3" fill="#ffffff" stroke="#777777")" : R"(rx="3" fill="#d9d9d9" stroke="#a0a0a0")");
    text += svg_text(x + chip.width / 2, y + 10, chip_font, chip.label,
                     learns ? R"(text-anchor="middle")" : R"(text-anchor="middle" fill="#6a6a6a")");
    const double part = (chip.width - 4) / static_cast<double>(std::max<std::size_t>(parts.size(), 1));
    for (std::size_t i = 0; i < parts.size(); ++i)
      text +=
          chip_part(parts[i], trains(chip, parts[i]), x + 2 + part * static_cast<double>(i), y + chip_height - 5, part);
    return text + "</g>";
  }

  std::string chip_part(std::size_t term, bool trains, double x, double y, double width) const {
    if (!trains)
      return svg_rectangle(x + 1, y + 0.5, width - 2, 3,
                           fmt::format(R"(fill="#ffffff" stroke="{}")", pens_[term].colour));
    return fmt::format(R"(<path d="M{:.1f} {:.1f}h{:.1f}" {}/>)", x, y + 2, width, pens_[term].stroke(4));
  }

  // ---- Legend

  std::string legend_text() {
    std::vector<std::vector<std::string>> rows{{"term", "type", "at", "target", "weight"}};
    if (!costs_.empty()) rows[0].insert(rows[0].end(), {"FLOPs saved without it", "bytes saved"});
    for (const TermExplanation& term : terms_) rows.push_back(legend_cells(term));
    std::vector<double> columns;
    double width = swatch;
    for (std::size_t column = 0; column < rows[0].size(); ++column) {
      double widest = 0;
      for (const auto& row : rows) widest = std::max(widest, text_width(row[column], legend_font));
      columns.push_back(margin + width);
      width += widest + column_gap;
    }
    std::string text = svg_text(margin, margin + 14, 15, diagram_.title + ": who trains what", R"(font-weight="bold")");
    double y = margin + 40;
    for (std::size_t row = 0; row < rows.size() && (row > 0 || !terms_.empty()); ++row, y += legend_row)
      text += legend_row_text(rows[row], columns, row, y);
    text += keys_text(y);
    legend_width_ = std::max({width, keys_width_, text_width(diagram_.title, 15, true) + 140});
    legend_height_ = y + 6;
    return "<g class=\"legend\">\n" + text + "</g>\n";
  }

  std::vector<std::string> legend_cells(const TermExplanation& term) const {
    std::string weight = term.schedule.empty() ? shortest(term.weight) : term.schedule;
    if (term.role == TermRole::excluded) weight += fmt::format(" (excluded by {})", term.excluded_by);
    if (term.role == TermRole::watched) weight += " (watched)";
    std::vector<std::string> cells{term.name, term.type, term.at, term.target.empty() ? "-" : term.target, weight};
    if (costs_.empty()) return cells;
    const auto cost =
        std::find_if(costs_.begin(), costs_.end(), [&](const TermCost& each) { return each.term == term.name; });
    if (cost == costs_.end()) {
      cells.insert(cells.end(), {"-", "-"});
      return cells;
    }
    cells.push_back(number_text(cost->with.cost.flops - cost->without.cost.flops));
    cells.push_back(
        number_text(static_cast<double>(cost->with.cost.bytes) - static_cast<double>(cost->without.cost.bytes)));
    return cells;
  }

  std::string legend_row_text(const std::vector<std::string>& cells, const std::vector<double>& columns,
                              std::size_t row, double y) const {
    const bool heading = row == 0, pale = !heading && terms_[row - 1].role != TermRole::trained;
    std::string text = fmt::format("<g{}>", pale ? R"( opacity="0.45")" : "");
    if (!heading)
      text +=
          fmt::format(R"svg(<path d="M{:.1f} {:.1f}h28" fill="none" {}/>)svg", margin, y - 4, pens_[row - 1].stroke(4));
    for (std::size_t i = 0; i < cells.size(); ++i)
      text += svg_text(columns[i], y, legend_font, cells[i], heading ? R"(fill="#6a6a6a")" : "");
    return text + "</g>\n";
  }

  struct Marks {
    bool trained = false, untrained = false, passed_by = false, cut = false, stop = false, pale = false;
  };

  Marks marks() const {
    Marks marks;
    for (const auto& [node, chips] : chips_)
      for (const Chip& chip : chips) {
        bool learns = false;
        for (std::size_t term : shares(chip)) (trains(chip, term) ? learns : marks.passed_by) = true;
        (learns ? marks.trained : marks.untrained) = true;
      }
    for (const auto& strands : strands_)
      for (const Strand& strand : strands) marks.cut = marks.cut || strand.ends;
    marks.cut = marks.cut || !inner_cuts_.empty();
    for (const DiagramNode& node : diagram_.nodes) marks.stop = marks.stop || node.stops;
    for (const TermExplanation& term : terms_) marks.pale = marks.pale || term.role != TermRole::trained;
    return marks;
  }

  /// Only the marks that the drawing has, one below the other.
  std::string keys_text(double& y) {
    std::string text;
    const auto key = [&](bool is_there, const std::string& mark, const std::string& says) {
      if (!is_there) return;
      text += fmt::format(R"svg(<g transform="translate({:.1f} {:.1f})">{}</g>)svg", margin, y - 4, mark);
      text += svg_text(margin + swatch, y, 11, says, R"(fill="#555555")") + '\n';
      keys_width_ = std::max(keys_width_, swatch + text_width(says, 11));
      y += legend_row - 4;
    };
    const std::string frame = svg_rectangle(0, -6, 28, 12, R"(rx="3" fill="#ffffff" stroke="#777777")");
    const Marks has = marks();
    y += 2;
    key(has.trained, frame + R"(<path d="M2 3h24" stroke="#0072b2" stroke-width="4"/>)",
        "a parameter, with the colours of the terms that train it");
    key(has.passed_by, frame + R"(<rect x="3" y="1.5" width="22" height="3" fill="#ffffff" stroke="#0072b2"/>)",
        "a gradient passes the layer and leaves the parameter alone (skip, only)");
    key(has.untrained, svg_rectangle(0, -6, 28, 12, R"(rx="3" fill="#d9d9d9" stroke="#a0a0a0")"),
        "a parameter that nothing trains");
    key(has.cut, R"(<path d="M8 -5h12m-6 0v12" fill="none" stroke="#0072b2" stroke-width="3"/>)",
        "a term's gradient ends here (stop_at)");
    key(has.stop, R"(<path d="M0 0h28" stroke="#000000" stroke-width="5"/>)",
        "every gradient ends here (stop_gradient)");
    key(has.pale,
        R"(<rect x="0" y="-6" width="28" height="12" rx="4" fill="none" stroke="#b06f00" )"
        R"(stroke-dasharray="3 2" opacity="0.45"/>)",
        "excluded or watched: sends no gradient");
    return text;
  }

  Diagram diagram_;
  const std::vector<TermExplanation>& terms_;
  const Explanation& explanation_;
  const std::vector<TermCost>& costs_;
  std::vector<Pen> pens_;
  std::vector<std::vector<Strand>> strands_;  ///< by edge
  std::size_t of_data_ = 0;                   ///< edges from here on carry none
  std::map<std::size_t, std::vector<std::size_t>> inner_cuts_;
  std::map<std::size_t, std::vector<Chip>> chips_;  ///< by node
  Layout layout_;
  double legend_width_ = 0, legend_height_ = 0, keys_width_ = 0;
};

}  // namespace

std::string explain_svg(const Diagram& diagram, const Explanation& explanation, const std::vector<TermCost>& costs) {
  return ExplainDrawing(diagram, explanation, costs).text();
}

}  // namespace weir::cli
