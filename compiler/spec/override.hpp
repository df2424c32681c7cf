// Changes from the command line, made to the document before it is checked, so that a flag is judged like the file.
#pragma once

#include <vector>

#include "compiler/spec/reading.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

/// Applies `set` and then `exclude` to the document's root. Paths that lead nowhere are reported. Returns where the
/// changes stand, so that later mistakes in them name the flag.
std::vector<Origin> apply_overrides(Element& root, const SpecOverrides& overrides, Diagnostics& diagnostics);

}  // namespace weir
