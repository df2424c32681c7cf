// What the update kernels have in common: operands that are flat buffers of one shape and layout, padding included. An
// update keeps padding zero because every formula here leaves a parameter alone where gradient and state are zero.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/dispatch.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

/// Elements of one block; a vector loop's tail stands only at the very end, so no element's bits depend on the threads.
inline constexpr std::int64_t update_block = 4096;

/// `updated` (f32), gradient (f32, read), and the scalars learning_rate and `more`.
inline void check_update(const Recipe& recipe, std::initializer_list<OperandRule> updated,
                         std::initializer_list<OperandRule> more = {}) {
  std::vector<OperandRule> rules(updated);
  rules.insert(rules.end(), {{"gradient"}, {"learning_rate", Access::read, DType::f64}});
  rules.insert(rules.end(), more);
  check_operands(recipe, rules);
  for (const OperandRule& rule : updated)
    if (recipe.find(rule.role)) check_equal_shapes(recipe, "gradient", rule.role);
}

}  // namespace weir::kernels
