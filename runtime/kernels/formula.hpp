// How a kernel finds the formula that its recipe names. A formula is a type with a `name`, its `settings` (numbers of
// the recipe) and a constructor that takes them.
#pragma once

#include <string_view>
#include <tuple>

#include "runtime/recipe_check.hpp"

namespace weir::kernels {

/// A number that a formula takes as a setting of the recipe.
struct Setting {
  std::string_view name;
  double least, most;
};

/// visit.template operator()<Formula>() with the one of the tuple `Formulas` that the recipe's setting "loss" names.
/// Throws Error(invalid_data) for none.
template <class Formulas, std::size_t index = 0, class Visit>
auto with_formula(const Recipe& recipe, Visit&& visit) {
  using Formula = std::tuple_element_t<index, Formulas>;
  const bool found = word_setting(recipe, "loss") == Formula::name;
  if constexpr (index + 1 < std::tuple_size_v<Formulas>) {
    if (!found) return with_formula<Formulas, index + 1>(recipe, visit);
  } else if (!found) {
    reject(recipe, "there is no loss of that name");
  }
  return visit.template operator()<Formula>();
}

}  // namespace weir::kernels
