// Where a recipe's operand lies.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "runtime/recipe.hpp"

namespace weir::kernels {

/// Null where the recipe has no such operand.
template <class T>
T* pointer(const Recipe& recipe, std::span<void* const> buffers, std::string_view role) {
  const int index = recipe.index_of(role);
  return index < 0 ? nullptr : static_cast<T*>(buffers[static_cast<std::size_t>(index)]);
}

}  // namespace weir::kernels
