#include "runtime/recipe.hpp"

#include "runtime/error.hpp"

namespace weir {

const RecipeOperand* Recipe::find(std::string_view role) const {
  for (const RecipeOperand& operand : operands)
    if (operand.role == role) return &operand;
  return nullptr;
}

const RecipeOperand& Recipe::operand(std::string_view role) const {
  if (const RecipeOperand* found = find(role)) return *found;
  throw Error(ErrorCode::invalid_data, "recipe " + kernel + " has no operand \"" + std::string(role) + "\"");
}

int Recipe::index_of(std::string_view role) const {
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i].role == role) return static_cast<int>(i);
  return -1;
}

std::uint64_t byte_count(const RecipeOperand& operand) {
  return static_cast<std::uint64_t>(physical_count(operand.shape)) * size_of(operand.dtype);
}

std::string to_string(const Recipe& recipe) {
  std::string text = recipe.kernel + "(";
  for (std::size_t i = 0; i < recipe.operands.size(); ++i) {
    const RecipeOperand& operand = recipe.operands[i];
    if (i) text += ", ";
    text += operand.role + " " + std::string(to_string(operand.dtype)) + to_string(operand.shape.dims);
    if (!operand.shape.layout.empty()) text += " " + operand.shape.layout;
  }
  text += ")";
  for (const auto& [name, value] : recipe.attributes) text += " " + name + "=" + to_string(value);
  return text + " threads=" + std::to_string(recipe.threads);
}

}  // namespace weir
