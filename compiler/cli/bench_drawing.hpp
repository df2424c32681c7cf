// An update drawn: the whole, its phases, their layers, the kernels of those, one row below the other, each as wide as
// the time it takes.
#pragma once

#include <string>

#include "compiler/cli/bench_report.hpp"

namespace weir::cli {

/// A document of its own; heading and machine are lines of text above the picture.
std::string bench_svg(const Measured& measured, const std::string& heading, const std::string& machine);

}  // namespace weir::cli
