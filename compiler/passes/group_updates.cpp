// Before: kernel steps, a commit step for each parameter. After: commit steps that differ in their tensors alone are
// one step, where their kernel's record says that it takes several (KernelDef::repeats).
//   adam(parameter, gradient, …)  adam(parameter, gradient, …)   becomes   adam(parameter, gradient, …, parameter_2, …)
// Legal because an update reads and writes what belongs to its own parameter, and scalars that no step of commit
// writes; it moves forward only, so whatever follows it (a constraint, the next move of the same statistic) still does.
// A small model's update costs the call of one kernel. After lower, because recipes must be known. Optional; each
// tensor is computed as before, bit by bit.
#include <algorithm>

#include "compiler/passes/passes.hpp"
#include "runtime/kernel.hpp"

namespace weir {
namespace {

bool is_repeated(const KernelDef& kernel, const std::string& role) {
  return std::find(kernel.repeats.begin(), kernel.repeats.end(), role) != kernel.repeats.end();
}

/// A lone update whose kernel takes several; null for any other step.
const KernelDef* groupable(const LoweredStep& step) {
  const KernelDef* kernel = step.phase == Phase::commit ? find_kernel(step.recipe.kernel) : nullptr;
  return kernel && !kernel->repeats.empty() && !step.watched ? kernel : nullptr;
}

/// Same settings, same scalars, the same kinds of operands for their tensor.
bool alike(const KernelDef& kernel, const LoweredStep& a, const LoweredStep& b) {
  if (a.recipe.kernel != b.recipe.kernel || a.recipe.threads != b.recipe.threads ||
      a.recipe.attributes != b.recipe.attributes || a.recipe.operands.size() != b.recipe.operands.size())
    return false;
  for (std::size_t i = 0; i < a.operands.size(); ++i) {
    const RecipeOperand &one = a.recipe.operands[i], &other = b.recipe.operands[i];
    if (one.role != other.role || one.access != other.access || one.dtype != other.dtype) return false;
    if (!is_repeated(kernel, one.role) && a.operands[i] != b.operands[i]) return false;
  }
  return true;
}

/// The same tensor is in both: a statistic of a layer that is used twice moves twice, one move behind the other.
bool overlap(const KernelDef& kernel, const LoweredStep& group, const LoweredStep& step) {
  for (std::size_t i = 0; i < step.operands.size(); ++i)
    if (is_repeated(kernel, step.recipe.operands[i].role) &&
        std::find(group.operands.begin(), group.operands.end(), step.operands[i]) != group.operands.end())
      return true;
  return false;
}

void append(const KernelDef& kernel, LoweredStep& group, const LoweredStep& step, std::size_t tensor) {
  for (std::size_t i = 0; i < step.operands.size(); ++i) {
    RecipeOperand operand = step.recipe.operands[i];
    if (!is_repeated(kernel, operand.role)) continue;
    operand.role = repeated_role(operand.role, tensor);
    group.recipe.operands.push_back(std::move(operand));
    group.operands.push_back(step.operands[i]);
  }
  group.node += ", " + step.node;
}

}  // namespace

LoweredGraph group_updates(LoweredGraph lowered) {
  std::vector<LoweredStep> steps;
  std::vector<bool> taken(lowered.steps.size());
  for (std::size_t first = 0; first < lowered.steps.size(); ++first) {
    if (taken[first]) continue;
    LoweredStep step = lowered.steps[first];
    const KernelDef* kernel = groupable(step);
    std::size_t tensors = 1;
    for (std::size_t next = first + 1; kernel && next < lowered.steps.size(); ++next) {
      const LoweredStep& other = lowered.steps[next];
      if (taken[next] || !groupable(other) || !alike(*kernel, lowered.steps[first], other) ||
          overlap(*kernel, step, other))
        continue;
      append(*kernel, step, other, tensors++);
      taken[next] = true;
    }
    steps.push_back(std::move(step));
  }
  lowered.steps = std::move(steps);
  return lowered;
}

}  // namespace weir
