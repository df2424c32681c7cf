// Warnings about files that are right and probably not meant.
#pragma once

#include "compiler/diagnostic.hpp"
#include "compiler/ir/graph.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

/// Of a specification without errors and its attached terms (before differentiate). Reads only; each lint has its code
/// and article in diagnostic_codes.cpp.
void lint(const Spec& spec, const TrainingGraph& training, Diagnostics& diagnostics);

}  // namespace weir
