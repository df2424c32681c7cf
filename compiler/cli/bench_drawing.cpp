#include "compiler/cli/bench_drawing.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/cli/svg.hpp"

namespace weir::cli {
namespace {

constexpr double margin = 20, picture_width = 1400, row_height = 34, row_gap = 3, bar_height = 6, font = 12;
constexpr double least_with_text = 26, swatch = 14;

/// A rectangle with what stands below it.
struct Cell {
  std::string label, about;  ///< in it; when pointed at
  std::string attributes;
  std::string colour;
  double seconds = 0, limit = 0;
  std::vector<Cell> parts = {};
};

/// Okabe's and Ito's, as in the other drawings.
std::string colour_of(std::string_view kind) {
  if (kind == "products") return "#0072b2";
  if (kind == "memory") return "#e69f00";
  return kind == "reorders" ? "#cc79a7" : "#8a8a8a";
}

class BenchDrawing {
 public:
  BenchDrawing(const Measured& measured, const std::string& heading, const std::string& machine)
      : measured_(measured), heading_(heading), machine_(machine) {
    between_ = std::max(0.0, measured.overhead());
    whole_ = measured.of("", &StepTime::seconds) + between_;
  }

  std::string text() const {
    const double top = margin + 52, picture = 4 * (row_height + row_gap), keys = top + picture + 24;
    const double height = keys + 20 * static_cast<double>(step_kinds.size() + 2) + margin;
    std::string all = fmt::format(
        R"svg(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} )svg"
        R"svg({1:.0f}" font-family="sans-serif" font-size="{2:.0f}">)svg",
        picture_width + 2 * margin, height, font);
    all += '\n' + svg_title(heading_) + '\n';
    all += svg_rectangle(0, 0, picture_width + 2 * margin, height, R"(fill="#ffffff")") + '\n';
    all += svg_text(margin, margin + 14, 15, heading_, R"(font-weight="bold")") + '\n';
    all += svg_text(margin, margin + 34, font, machine_, R"(fill="#6a6a6a")") + '\n';
    all += cell_text(update(), margin, top);
    return all + keys_text(keys) + "</svg>\n";
  }

 private:
  // ---- What is drawn

  std::string share_text(double seconds, double limit) const {
    const std::string of_limit =
        limit > 0 ? fmt::format(", {} of limit", percent_text(ratio(limit, seconds))) : std::string();
    return fmt::format("{}, {} of the update{}", time_text(seconds), percent_text(ratio(seconds, whole_)), of_limit);
  }

  Cell step_cell(const StepTime& step) const {
    const auto rate = [&](double amount) { return step.seconds > 0 ? amount / step.seconds / 1e9 : 0; };
    return {step.kernel,
            fmt::format("{}\n{}, {} thread{}\n{}\nfastest {}, {:.1f} GFLOP/s, {:.1f} GB/s", short_node(step.node),
                        step.kernel, step.threads, step.threads == 1 ? "" : "s", share_text(step.seconds, step.limit),
                        time_text(step.least), rate(step.cost.flops), rate(static_cast<double>(step.cost.bytes))),
            fmt::format(R"(class="step" data-name="{}" data-kind="{}")", xml_escaped(step.node), step.kind),
            colour_of(step.kind),
            step.seconds,
            step.limit};
  }

  /// Sums over the parts.
  Cell around(const std::string& label, const char* level, std::vector<Cell> parts) const {
    Cell cell{label, "", fmt::format(R"(class="{}" data-name="{}")", level, xml_escaped(label)), "#5a5a5a"};
    for (const Cell& part : parts) {
      cell.seconds += part.seconds;
      cell.limit += part.limit;
    }
    cell.about = fmt::format("{}\n{}", label, share_text(cell.seconds, cell.limit));
    cell.parts = std::move(parts);
    return cell;
  }

  /// Layers in the order in which they first run.
  Cell phase_cell(std::string_view phase) const {
    std::vector<std::string> layers;
    for (const StepTime& step : measured_.steps)
      if (step.phase == phase && std::find(layers.begin(), layers.end(), step.layer) == layers.end())
        layers.push_back(step.layer);
    std::vector<Cell> cells;
    for (const std::string& layer : layers) {
      std::vector<Cell> steps;
      for (const StepTime& step : measured_.steps)
        if (step.phase == phase && step.layer == layer) steps.push_back(step_cell(step));
      cells.push_back(around(layer, "layer", std::move(steps)));
    }
    return around(std::string(phase), "phase", std::move(cells));
  }

  Cell update() const {
    std::vector<Cell> phases;
    for (std::string_view phase : step_phases)
      if (Cell cell = phase_cell(phase); !cell.parts.empty()) phases.push_back(std::move(cell));
    phases.push_back({"between", "between steps: feeding, checks, calls\n" + share_text(between_, 0),
                      R"(class="phase" data-name="between")", colour_of("between"), between_, 0});
    return around("an update", "update", std::move(phases));
  }

  // ---- How

  std::string cell_text(const Cell& cell, double x, double y) const {
    const double across = ratio(cell.seconds, whole_) * picture_width;
    const double reached = across * std::min(1.0, ratio(cell.limit, cell.seconds));
    std::string text = fmt::format("<g {}>{}", cell.attributes, svg_title(cell.about));
    text += svg_rectangle(x, y, across, row_height,
                          fmt::format(R"(fill="{}" fill-opacity="0.28" stroke="#ffffff")", cell.colour));
    if (reached > 0)
      text +=
          svg_rectangle(x, y + row_height - bar_height, reached, bar_height, fmt::format(R"(fill="{}")", cell.colour));
    if (across >= least_with_text) text += svg_text(x + 4, y + 17, font, shortened(labelled(cell), across - 8, font));
    text += "</g>\n";
    double part_x = x;
    for (const Cell& part : cell.parts) {
      text += cell_text(part, part_x, y + row_height + row_gap);
      part_x += ratio(part.seconds, whole_) * picture_width;
    }
    return text;
  }

  static std::string labelled(const Cell& cell) {
    const std::string limit = cell.limit > 0 ? fmt::format(" ({})", percent_text(ratio(cell.limit, cell.seconds))) : "";
    return fmt::format("{} {}{}", cell.label, time_text(cell.seconds), limit);
  }

  std::string keys_text(double y) const {
    std::string text = "<g class=\"legend\">\n";
    const auto row = [&](std::string_view kind, double seconds, double limit) {
      text += svg_rectangle(margin, y - swatch + 3, swatch, swatch, fmt::format(R"(fill="{}")", colour_of(kind)));
      text += svg_text(margin + swatch + 8, y, font, fmt::format("{}: {}", kind, share_text(seconds, limit))) + '\n';
      y += 20;
    };
    for (std::string_view kind : step_kinds)
      if (const double seconds = measured_.of(kind, &StepTime::seconds); seconds > 0)
        row(kind, seconds, measured_.of(kind, &StepTime::limit));
    row("between", between_, 0);
    text += svg_text(margin, y, font,
                     "the bar at a box's foot, and the share in parentheses: what the machine would need at least; "
                     "pointing at a box shows more",
                     R"(fill="#6a6a6a")");
    return text + "</g>\n";
  }

  const Measured& measured_;
  std::string heading_, machine_;
  double between_ = 0, whole_ = 0;  ///< seconds; whole: of all that is drawn
};

}  // namespace

std::string bench_svg(const Measured& measured, const std::string& heading, const std::string& machine) {
  return BenchDrawing(measured, heading, machine).text();
}

}  // namespace weir::cli
