// From a recipe to what runs: a kernel of our own where there is one of that name, else a oneDNN primitive.
#include <algorithm>

#include "runtime/error.hpp"
#include "runtime/kernel.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/recipe_check.hpp"

namespace weir {
namespace {

[[noreturn]] void unknown_kernel(const Recipe& recipe) {
  throw Error(ErrorCode::invalid_data, "there is no kernel \"" + recipe.kernel + "\"");
}

}  // namespace

const KernelDef* find_kernel(std::string_view name) {
  const auto table = kernels_table();
  const auto found =
      std::lower_bound(table.begin(), table.end(), name,
                       [](const KernelDef* kernel, std::string_view wanted) { return kernel->name < wanted; });
  return found != table.end() && (*found)->name == name ? *found : nullptr;
}

std::string repeated_role(std::string_view role, std::size_t tensor) {
  return tensor == 0 ? std::string(role) : std::string(role) + "_" + std::to_string(tensor + 1);
}

Recipe recipe_of_tensor(const Recipe& recipe, std::size_t tensor) {
  const KernelDef* kernel = find_kernel(recipe.kernel);
  const auto base_of = [&](const std::string& role) -> std::string_view {
    const std::size_t digits = role.find_last_not_of("0123456789") + 1;
    const bool is_further = digits > 0 && digits < role.size() && role[digits - 1] == '_';
    const std::string_view base = std::string_view(role).substr(0, is_further ? digits - 1 : role.size());
    return std::find(kernel->repeats.begin(), kernel->repeats.end(), base) != kernel->repeats.end() ? base : "";
  };
  Recipe one{recipe.kernel, {}, recipe.attributes, recipe.threads};
  for (const RecipeOperand& operand : recipe.operands) {
    const std::string_view base = kernel ? base_of(operand.role) : "";
    if (!base.empty() && operand.role != repeated_role(base, tensor)) continue;
    one.operands.push_back(operand);
    if (!base.empty()) one.operands.back().role = base;
  }
  return one;
}

void validate_recipe(const Recipe& recipe) {
  if (const KernelDef* kernel = find_kernel(recipe.kernel)) {
    check_shapes(recipe);
    return kernel->validate(recipe);
  }
  if (!is_primitive(recipe.kernel)) unknown_kernel(recipe);
  validate_primitive(recipe);
}

std::unique_ptr<Executable> make_executable(const Recipe& recipe, std::span<void* const> buffers) {
  WEIR_CHECK(buffers.size() == recipe.operands.size(), "one buffer for each operand of " + to_string(recipe));
  if (const KernelDef* kernel = find_kernel(recipe.kernel)) {
    validate_recipe(recipe);
    return kernel->create(recipe, buffers);
  }
  if (!is_primitive(recipe.kernel)) unknown_kernel(recipe);
  return make_primitive(recipe, buffers);
}

std::span<const InPlace> in_place_of(const Recipe& recipe) {
  if (const KernelDef* kernel = find_kernel(recipe.kernel)) return kernel->in_place;
  if (!is_primitive(recipe.kernel)) unknown_kernel(recipe);
  return primitive_in_place(recipe);
}

}  // namespace weir
