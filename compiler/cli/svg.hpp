// Small parts of our drawings: escaped text, its width, lines of a layout.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/cli/layered_layout.hpp"

namespace weir::cli {

/// For text and for attributes in double quotes.
std::string xml_escaped(std::string_view text);

/// About how wide a sans-serif font draws it; rather more.
double text_width(std::string_view text, double size, bool bold = false);

/// The text, or as much of it as fits, with an ellipsis.
std::string shortened(const std::string& text, double width, double size, bool bold = false);

/// Elements. `more`: further attributes. A title is what pointing at the element around it shows.
std::string svg_text(double x, double y, double size, const std::string& content, const std::string& more = "");
std::string svg_rectangle(double x, double y, double width, double height, const std::string& style);
std::string svg_title(const std::string& content);

/// The data of a path along an edge of a layout, moved aside by `shift` where others run beside it. upwards: from its
/// end to its start.
std::string path_data(const std::vector<Point>& points, double shift, bool upwards);

}  // namespace weir::cli
