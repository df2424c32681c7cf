// The ways there are on this machine to compute one open recipe: the library's primitive, a kernel of our own, a
// convolution of one tap as a product of rows, each by one thread or by the team.
#pragma once

#include <string>
#include <vector>

#include "runtime/recipe.hpp"

namespace weir {

/// The one that is taken without the clock: by rules that were measured.
Recipe usual_way(const Recipe& open);

/// All that can be had, the usual one first. Layouts are as open as in `open`.
std::vector<Recipe> ways_of(const Recipe& open);

/// "inner_product_forward/2": tells the ways of one recipe apart.
std::string name_of_way(const Recipe& way);

/// Layouts and scratch settled. Throws Error(unsupported) where the library has no such kernel.
Recipe close_way(const Recipe& way);

}  // namespace weir
