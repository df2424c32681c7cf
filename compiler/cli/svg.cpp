#include "compiler/cli/svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "compiler/cli/text.hpp"

namespace weir::cli {
namespace {

using Curve = std::array<Point, 4>;

/// Straight down, or an S whose ends are upright. At its flattest it is moved up or down, so that curves side by side
/// keep their distance.
Curve curve_between(Point from, Point to, double shift) {
  const double bend = (to.y - from.y) / 2, aside = to.x - from.x;
  const double flat = aside == 0 ? 0 : std::min(1.0, std::abs(aside) / (to.y - from.y)) * (aside > 0 ? -1 : 1);
  const double lift = shift * flat * 4 / 3;
  return {{{from.x + shift, from.y},
           {from.x + shift, from.y + bend + lift},
           {to.x + shift, to.y - bend + lift},
           {to.x + shift, to.y}}};
}

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else if (c == '>')
      result += "&gt;";
    else if (c == '"')
      result += "&quot;";
    else if (static_cast<unsigned char>(c) < ' ' && c != '\n')
      result += ' ';  // no XML may hold these
    else
      result += c;
  }
  return result;
}

double text_width(std::string_view text, double size, bool bold) {
  return static_cast<double>(width_of(text)) * size * (bold ? 0.7 : 0.62);
}

std::string shortened(const std::string& text, double width, double size, bool bold) {
  if (text_width(text, size, bold) <= width) return text;
  std::string kept = text;
  while (!kept.empty() && text_width(kept + "…", size, bold) > width) {
    while (kept.size() > 1 && (static_cast<unsigned char>(kept.back()) & 0xc0) == 0x80) kept.pop_back();
    kept.pop_back();
  }
  return kept + "…";
}

std::string path_data(const std::vector<Point>& points, double shift, bool upwards) {
  std::vector<Curve> curves;
  for (std::size_t i = 0; i + 1 < points.size(); ++i) curves.push_back(curve_between(points[i], points[i + 1], shift));
  if (upwards) {
    std::reverse(curves.begin(), curves.end());
    for (Curve& curve : curves) std::reverse(curve.begin(), curve.end());
  }
  std::string data = fmt::format("M{:.1f} {:.1f}", curves.front()[0].x, curves.front()[0].y);
  for (const Curve& c : curves)
    data += c[0].x == c[3].x ? fmt::format("L{:.1f} {:.1f}", c[3].x, c[3].y)
                             : fmt::format("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", c[1].x, c[1].y, c[2].x, c[2].y,
                                           c[3].x, c[3].y);
  return data;
}

std::string svg_text(double x, double y, double size, const std::string& content, const std::string& more) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" font-size="{:.0f}"{}>{}</text>)", x, y, size,
                     more.empty() ? "" : " " + more, xml_escaped(content));
}

std::string svg_rectangle(double x, double y, double width, double height, const std::string& style) {
  return fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" {}/>)", x, y, width, height, style);
}

std::string svg_title(const std::string& content) { return fmt::format("<title>{}</title>", xml_escaped(content)); }

}  // namespace weir::cli
