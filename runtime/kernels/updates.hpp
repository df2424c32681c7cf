// What the update kernels have in common: operands that are flat buffers of one shape and layout, padding included. An
// update keeps padding zero because every formula here leaves a parameter alone where gradient and state are zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/dispatch.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

/// Elements of one block; a vector loop's tail stands only at the very end, so no element's bits depend on the threads.
inline constexpr std::int64_t update_block = 4096;

/// `updated` (f32) and gradient (f32, read), once or for several tensors (KernelDef::repeats), and the scalars
/// learning_rate and `more`.
inline void check_update(const Recipe& recipe, std::initializer_list<OperandRule> updated,
                         std::initializer_list<OperandRule> more = {}) {
  std::vector<OperandRule> rules(more);
  rules.push_back({"learning_rate", Access::read, DType::f64});
  std::deque<std::string> roles;
  std::size_t tensor = 0;
  do {
    const std::string& gradient = roles.emplace_back(repeated_role("gradient", tensor));
    rules.push_back({gradient});
    for (OperandRule rule : updated) {
      rule.role = roles.emplace_back(repeated_role(rule.role, tensor));
      rules.push_back(rule);
      if (recipe.find(gradient) && recipe.find(rule.role)) check_equal_shapes(recipe, gradient, rule.role);
    }
  } while (recipe.find(repeated_role("parameter", ++tensor)));
  check_operands(recipe, rules);
}

/// A part of one tensor; of its states, null where there is none.
struct UpdateBlock {
  float* parameter;
  const float* gradient;
  float* states[2];
  std::int64_t count;
};

/// Blocks of all tensors of a recipe, shared out among the threads.
class UpdateBlocks {
 public:
  UpdateBlocks(const Recipe& recipe, std::span<void* const> buffers, std::initializer_list<std::string_view> states) {
    for (std::size_t tensor = 0; recipe.find(repeated_role("parameter", tensor)); ++tensor)
      add(recipe, buffers, states, tensor);
  }

  template <class Body>
  void for_each(int threads, Body&& body) const {
    const bool alone = elements_ < 4 * update_block;  // not worth waking a team
    Blocks(static_cast<std::int64_t>(blocks_.size()), 1)
        .for_each(alone ? 1 : threads, [&](std::int64_t block, std::int64_t, std::int64_t) {
          body(blocks_[static_cast<std::size_t>(block)]);
        });
  }

 private:
  void add(const Recipe& recipe, std::span<void* const> buffers, std::initializer_list<std::string_view> states,
           std::size_t tensor) {
    const auto find = [&](std::string_view role) {
      return pointer<float>(recipe, buffers, repeated_role(role, tensor));
    };
    UpdateBlock whole{find("parameter"), find("gradient"), {}, 0};
    std::size_t slot = 0;
    for (std::string_view state : states) whole.states[slot++] = find(state);
    const std::int64_t count = physical_count(recipe.operand(repeated_role("parameter", tensor)).shape);
    elements_ += count;
    for (std::int64_t begin = 0; begin < count; begin += update_block) {
      UpdateBlock block = whole;
      block.parameter += begin, block.gradient += begin, block.count = std::min(update_block, count - begin);
      for (float*& state : block.states)
        if (state) state += begin;
      blocks_.push_back(block);
    }
  }

  std::vector<UpdateBlock> blocks_;
  std::int64_t elements_ = 0;
};

}  // namespace weir::kernels
