// Text and rules of the lowered stage.
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {

std::string print(const LoweredGraph& lowered) {
  static const char* const titles[] = {"refresh", "compute", "commit"};
  std::string text = "lowered, batch " + std::to_string(lowered.batch) + "\n";
  int phase = -1;
  for (const LoweredStep& step : lowered.steps) {
    if (static_cast<int>(step.phase) != phase) text += std::string(titles[phase = static_cast<int>(step.phase)]) + "\n";
    text += "  " + step.node + (step.watched ? " (watched)" : "") + ": " + step.recipe.kernel + "(";
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const LoweredValue& value = lowered.values[static_cast<std::size_t>(step.operands[i])];
      const RecipeOperand& operand = step.recipe.operands[i];
      text += (i ? ", " : "") + operand.role + " %" + value.name;
      if (!operand.shape.layout.empty()) text += " " + operand.shape.layout;
    }
    text += ")\n";
  }
  return text;
}

void verify(const LoweredGraph& lowered) {
  for (const LoweredStep& step : lowered.steps) {
    WEIR_CHECK(step.operands.size() == step.recipe.operands.size(), step.node + ": operands and recipe disagree");
    for (std::size_t i = 0; i < step.operands.size(); ++i) {
      const RecipeOperand& operand = step.recipe.operands[i];
      const LoweredValue& value = lowered.values.at(static_cast<std::size_t>(step.operands[i]));
      WEIR_CHECK(operand.shape.layout != "any", step.node + ": layout of " + operand.role + " is open");
      WEIR_CHECK(value.is_scalar == operand.shape.layout.empty(),
                 step.node + ": " + value.name + " is a scalar or a tensor, not both");
      if (!value.is_scalar)
        WEIR_CHECK(byte_count(operand) == byte_count(RecipeOperand{"", Access::read, value.dtype, value.shape}),
                   step.node + ": " + value.name + " has another size than " + operand.role);
    }
  }
}

}  // namespace weir
