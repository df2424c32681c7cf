// Before: kernel steps, a commit step for each parameter and a refresh step for each copy of one in another layout.
// After: commit steps that differ in their tensors alone are one step, where their kernel's record says that it takes
// several (KernelDef::repeats), and so are the copies of what is kept between steps, by a kernel that takes several.
//   adam(parameter, gradient, …)  adam(parameter, gradient, …)   becomes   adam(parameter, gradient, …, parameter_2, …)
//   reorder(src, dst)  reorder(src, dst)                         becomes   repack(src, dst, src_2, dst_2)
// Legal because an update reads and writes what belongs to its own parameter, and scalars that no step of commit
// writes, and a copy reads what no step of refresh writes; steps move forward only, so whatever follows them (a
// constraint, the next move of the same statistic, a step that reads the copy) still does. A small model's update costs
// the call of one kernel, and the threads share out all copies at once. After lower, because recipes must be known.
// Optional; each tensor is computed as before, bit by bit.
#include <algorithm>

#include "compiler/passes/lives.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/kernel.hpp"

namespace weir {
namespace {

bool is_repeated(const KernelDef& kernel, const std::string& role) {
  return std::find(kernel.repeats.begin(), kernel.repeats.end(), role) != kernel.repeats.end();
}

/// A parameter, statistic or state copied into another layout.
bool is_copy_of_stored(const LoweredGraph& lowered, const LoweredStep& step) {
  if (step.phase != Phase::refresh || step.watched || step.recipe.kernel != "reorder") return false;
  const RecipeOperand &src = step.recipe.operands[0], &dst = step.recipe.operands[1];
  const int source = root_of(lowered, step.operands[0]);
  return src.dtype == DType::f32 && dst.dtype == DType::f32 &&
         !is_in_arena(lowered.values[static_cast<std::size_t>(source)]);
}

/// The library's reorder of one tensor as ours, which needs no scratch.
void repack(LoweredStep& step, int threads) {
  step.recipe = {"repack", {step.recipe.operands[0], step.recipe.operands[1]}, {}, threads};
  step.operands.resize(2);
}

/// A lone step whose kernel takes several; null for any other step.
const KernelDef* groupable(const LoweredStep& step) {
  const bool may_move = step.phase == Phase::commit || step.recipe.kernel == "repack";
  const KernelDef* kernel = may_move ? find_kernel(step.recipe.kernel) : nullptr;
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

/// One writes a tensor of the other's: a statistic of a layer that is used twice moves twice, one move behind the
/// other.
bool overlap(const LoweredStep& group, const LoweredStep& step) {
  for (std::size_t i = 0; i < step.operands.size(); ++i)
    for (std::size_t j = 0; j < group.operands.size(); ++j)
      if (step.operands[i] == group.operands[j] &&
          (step.recipe.operands[i].access != Access::read || group.recipe.operands[j].access != Access::read))
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
  int threads = 1;  // of the whole team: many copies are worth it where each of them is not
  for (const LoweredStep& step : lowered.steps)
    if (!step.watched) threads = std::max(threads, step.recipe.threads);
  for (LoweredStep& step : lowered.steps)
    if (is_copy_of_stored(lowered, step)) repack(step, threads);
  std::vector<LoweredStep> steps;
  std::vector<bool> taken(lowered.steps.size());
  for (std::size_t first = 0; first < lowered.steps.size(); ++first) {
    if (taken[first]) continue;
    LoweredStep step = lowered.steps[first];
    const KernelDef* kernel = groupable(step);
    std::size_t tensors = 1;
    for (std::size_t next = first + 1; kernel && next < lowered.steps.size(); ++next) {
      const LoweredStep& other = lowered.steps[next];
      if (taken[next] || !groupable(other) || !alike(*kernel, lowered.steps[first], other) || overlap(step, other))
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
