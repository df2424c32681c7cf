// weir explain drawn: the network as weir show draws it, and on it the way that each term's gradient takes, who trains
// which parameter, and where gradients end. What is drawn is what the explanation says; nothing is computed here.
#pragma once

#include <string>
#include <vector>

#include "compiler/cli/diagram.hpp"
#include "compiler/cli/explain_cost.hpp"

namespace weir::cli {

/// diagram: of the same explanation. costs: of terms, for the legend; may lack any.
std::string explain_svg(const Diagram& diagram, const Explanation& explanation, const std::vector<TermCost>& costs);

}  // namespace weir::cli
