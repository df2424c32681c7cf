// What tests want to know of layouts, without oneDNN's headers.
#pragma once

#include <string>
#include <vector>

#include "runtime/layout.hpp"

namespace weir {

/// Every layout over these axes that oneDNN has a tag for, plain ones first.
std::vector<std::string> layout_words(const std::string& axes);

/// The word that a descriptor made from this shape is named by: the same bytes, perhaps a plainer name (axes of extent
/// 1).
std::string settled_layout(const Shape& shape);

}  // namespace weir
