// What the kernels over rows of classes have in common: crossentropy, its gradient, accuracy.
//
// prediction f32 [batch, rows, classes]; target f32 of the same shape, or i32 [batch, rows] (classes), or absent with
// the setting "constant" (a number, the same for every class) or "class" (one class for every row). A class outside 0 …
// classes - 1 is the caller's mistake (the session refuses such data): it makes a loss NaN, so that no step is
// committed, and is never used as an index.
#pragma once

#include <limits>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/reduction.hpp"

namespace weir::kernels {

struct ClassRows {
  ClassRows(const Recipe& recipe, std::span<void* const> buffers)
      : batch(recipe.operand("prediction").shape.dims[0]),
        rows(recipe.operand("prediction").shape.dims[1]),
        classes(recipe.operand("prediction").shape.dims[2]),
        prediction(pointer<const float>(recipe, buffers, "prediction")) {
    const RecipeOperand* operand = recipe.find("target");
    if (operand && operand->dtype == DType::i32) {
      target_class = pointer<const std::int32_t>(recipe, buffers, "target");
    } else if (operand) {
      target = pointer<const float>(recipe, buffers, "target");
    } else if (recipe.attributes.has("class")) {
      every_class = recipe.attributes.integer("class");
    }
  }

  /// About as many entries a block as loss_entries has.
  std::int64_t rows_in_block() const { return std::max<std::int64_t>(1, 4096 / classes); }
  bool has_classes() const { return target_class || every_class >= 0; }
  /// The class of a row, or -1 where it is none. Only with has_classes.
  std::int64_t class_of(std::int64_t row) const {
    const std::int64_t value = target_class ? target_class[row] : every_class;
    return value >= 0 && value < classes ? value : -1;
  }

  std::int64_t batch, rows, classes;
  const float* prediction;
  const float* target = nullptr;  ///< at most one of these three
  const std::int32_t* target_class = nullptr;
  std::int64_t every_class = -1;
};

/// Operands prediction, target, rows and `more`; shapes; the settings divisor and by_rows; constant or class where
/// there is no target.
inline void check_class_rows(const Recipe& recipe, std::initializer_list<OperandRule> more) {
  const RecipeOperand* target = recipe.find("target");
  const bool classes = target && target->dtype == DType::i32;
  std::vector<OperandRule> rules(more);
  rules.insert(rules.end(), {{"prediction"}, {"rows", Access::read, DType::f64}});
  Reduction::add_rules(recipe, rules);
  if (target) rules.push_back({"target", Access::read, classes ? DType::i32 : DType::f32});
  check_operands(recipe, rules);
  const Dims& dims = recipe.operand("prediction").shape.dims;
  if (dims.size() != 3) reject(recipe, "the prediction must be [batch, rows, classes]");
  check_dense(recipe, "prediction");
  Reduction::check(recipe);
  if (target) check_dense(recipe, "target");
  if (classes && target->shape.dims != Dims{dims[0], dims[1]}) reject(recipe, "the classes must be [batch, rows]");
  if (target && !classes && target->shape.dims != dims) reject(recipe, "the target must have the prediction's extents");
  if (target) return;
  if (recipe.attributes.has("class"))
    integer_setting(recipe, "class", 0, dims[2] - 1);
  else
    number_setting(recipe, "constant", -3e38, 3e38);
}

}  // namespace weir::kernels
