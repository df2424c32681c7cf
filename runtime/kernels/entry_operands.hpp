// What loss_entries and loss_entries_gradient have in common: their operands, the checks, and a target that is a tensor
// of f32 or i32 or one constant.
#pragma once

#include <span>
#include <vector>

#include "runtime/kernels/entry_formulas.hpp"
#include "runtime/kernels/reduction.hpp"

namespace weir::kernels {

/// Entries that are looked at together: their targets fit in the first-level cache.
inline constexpr std::int64_t entry_chunk = 512;
/// Entries of a block: what one thread takes at a time, and one partial sum.
inline constexpr std::int64_t entry_block = 16 * entry_chunk;

/// Roles prediction f32 [batch, entries], target (the same in f32 or i32, or absent with the setting "constant"), rows,
/// and `more`; settings loss, divisor, by_rows and the formula's.
inline void check_entries(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  const RecipeOperand* target = recipe.find("target");
  std::vector<OperandRule> rules(more);
  rules.insert(rules.end(), {{"prediction"}, {"rows", Access::read, DType::f64}});
  Reduction::add_rules(recipe, rules);
  if (target) rules.push_back({"target", Access::read, target->dtype == DType::i32 ? DType::i32 : DType::f32});
  check_operands(recipe, rules);
  std::size_t settings = 3;
  with_entry_formula(recipe, [&]<class Formula>() {
    for (const Setting& setting : Formula::settings) number_setting(recipe, setting.name, setting.least, setting.most);
    settings += Formula::settings.size();
    if (target && !Formula::has_target) reject(recipe, "this loss takes no target");
    if (target || !Formula::has_target) return;
    number_setting(recipe, "constant", -3e38, 3e38);
    ++settings;
  });
  if (static_cast<std::size_t>(std::distance(recipe.attributes.begin(), recipe.attributes.end())) != settings)
    reject(recipe, "it has a setting that this loss does not take");
  if (recipe.operand("prediction").shape.dims.size() != 2) reject(recipe, "the prediction must be [batch, entries]");
  check_dense(recipe, "prediction");
  Reduction::check(recipe);
  if (target) check_equal_shapes(recipe, "prediction", "target");
}

/// The targets of up to entry_chunk entries as f32.
class EntryTargets {
 public:
  EntryTargets(const Recipe& recipe, std::span<void* const> buffers) {
    const int index = recipe.index_of("target");
    if (index >= 0) {
      const void* data = buffers[static_cast<std::size_t>(index)];
      (recipe.operands[static_cast<std::size_t>(index)].dtype == DType::i32 ? integers_ : floats_) = data;
    } else if (recipe.attributes.has("constant")) {
      constant_ = static_cast<float>(recipe.attributes.number("constant"));
    }
  }

  /// Of entries begin … begin + count - 1; room has entry_chunk floats and is used where the targets have to be written
  /// out.
  const float* read(std::int64_t begin, std::int64_t count, float* room) const {
    if (floats_) return static_cast<const float*>(floats_) + begin;
    if (!integers_) {
      std::fill_n(room, count, constant_);
    } else {
      const std::int32_t* integers = static_cast<const std::int32_t*>(integers_) + begin;
      for (std::int64_t i = 0; i < count; ++i) room[i] = static_cast<float>(integers[i]);
    }
    return room;
  }

 private:
  const void *floats_ = nullptr, *integers_ = nullptr;
  float constant_ = 0;
};

}  // namespace weir::kernels
