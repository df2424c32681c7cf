// What every recipe of a dense layer fulfils, forward and backward, whoever computes it: rows "nc", a kernel "io", a
// bias "o".
#pragma once

#include "runtime/recipe_check.hpp"

namespace weir {

/// The operand of either name: forward and backward call the same tensor differently.
inline const Shape& either_shape(const Recipe& recipe, std::string_view one, std::string_view other) {
  const RecipeOperand* operand = recipe.find(one);
  return operand ? operand->shape : recipe.operand(other).shape;
}

inline void check_dense_layer(const Recipe& recipe) {
  const Shape &in = either_shape(recipe, "src", "diff_src"), &kernel = either_shape(recipe, "weights", "diff_weights"),
              &out = either_shape(recipe, "dst", "diff_dst");
  if (in.axes != "nc" || out.axes != "nc" || kernel.axes != "io")
    reject(recipe, "rows must have axes \"nc\" and the kernel \"io\"");
  const bool fits = in.dims[0] == out.dims[0] && kernel.dims[0] == in.dims[1] && kernel.dims[1] == out.dims[1];
  if (!fits) reject(recipe, "the kernel's extents do not fit those of the rows");
  for (std::string_view role : {"bias", "diff_bias"})
    if (const RecipeOperand* bias = recipe.find(role))
      if (bias->shape.axes != "o" || bias->shape.dims[0] != out.dims[1])
        reject(recipe, "the bias must have one value for each output");
}

}  // namespace weir
