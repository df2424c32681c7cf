// Times told without a clock: what decides between layouts where the user did not ask for tuning. Only ratios count.
#pragma once

#include "runtime/recipe.hpp"

namespace weir {

/// Layouts of weights may be open.
double estimated_seconds(const Recipe& recipe, int threads);

}  // namespace weir
