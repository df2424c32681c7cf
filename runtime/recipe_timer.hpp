// How long recipes take on the machine at hand, each alone, on made-up data.
#pragma once

#include <span>
#include <vector>

#include "runtime/recipe.hpp"

namespace weir {

/// Seconds of the fastest of several runs each: other load only slows them. The recipes are run in turn, several times,
/// so that other load meets all of them alike; one that is far slower than the fastest is not run again. About `limit`
/// seconds for all together, more only where a single run takes longer. Closed recipes, of steps that compute: no step
/// of commit.
std::vector<double> time_recipes(std::span<const Recipe> recipes, double limit);

}  // namespace weir
