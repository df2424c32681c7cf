#include "runtime/recipe_cost.hpp"

#include <algorithm>

namespace weir {
namespace {

double entries(const Dims& dims) {
  double count = 1;
  for (std::int64_t extent : dims) count *= static_cast<double>(extent);
  return count;
}

double entries(const Recipe& recipe, std::string_view role) {
  const RecipeOperand* operand = recipe.find(role);
  return operand ? entries(operand->shape.dims) : 0;
}

/// The one of the roles that the recipe has: forward and backward name the same tensor differently.
const Dims* dims_of(const Recipe& recipe, std::initializer_list<std::string_view> roles) {
  for (std::string_view role : roles)
    if (const RecipeOperand* operand = recipe.find(role)) return &operand->shape.dims;
  return nullptr;
}

/// Each entry of the result, or of its gradient, takes a multiply-add for every weight of its output channel. Canonical
/// weights are [window…, in, out], so that is their count over their last extent; both backward steps cost the same.
double product_flops(const Recipe& recipe) {
  const Dims* results = dims_of(recipe, {"dst", "diff_dst"});
  const Dims* weights = dims_of(recipe, {"weights", "diff_weights"});
  if (!results || !weights || weights->empty() || weights->back() == 0) return 0;
  double flops = 2 * entries(*results) * entries(*weights) / static_cast<double>(weights->back());
  if (recipe.attributes.has("groups")) flops /= static_cast<double>(recipe.attributes.integer("groups"));
  if (recipe.find("bias") || recipe.find("diff_bias")) flops += entries(*results);
  return flops;
}

/// A comparison or an addition for every place of the window of every result.
double pooling_flops(const Recipe& recipe) {
  const Dims* results = dims_of(recipe, {"dst", "diff_dst"});
  return results ? entries(*results) * entries(recipe.attributes.integers("window")) : 0;
}

/// A product of queries and keys and one with values for every probability; the gradient has two of each.
double attention_flops(const Recipe& recipe) {
  const Dims *keys = dims_of(recipe, {"key"}), *values = dims_of(recipe, {"value"});
  if (!keys || !values || keys->empty() || values->empty()) return 0;
  const double products = recipe.find("d_dst") ? 2 : 1;
  return products * 2 * entries(recipe, "probabilities") * static_cast<double>(keys->back() + values->back());
}

double largest_operand(const Recipe& recipe) {
  double most = 0;
  for (const RecipeOperand& operand : recipe.operands)
    if (operand.role != "scratch") most = std::max(most, entries(operand.shape.dims));
  return most;
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  flops += other.flops;
  bytes += other.bytes;
  steps += other.steps;
  return *this;
}

double flops_of(const Recipe& recipe) {
  if (recipe.kernel.starts_with("attention")) return attention_flops(recipe);
  if (is_product(recipe)) return product_flops(recipe);
  if (recipe.kernel.starts_with("pooling")) return pooling_flops(recipe);
  // Mean, squared distance, normalizing and scaling: about eight operations an entry forward, twice that backward.
  if (recipe.kernel.starts_with("batch_normalization_") || recipe.kernel.starts_with("normalize_batch"))
    return (recipe.find("diff_dst") ? 16 : 8) * std::max(entries(recipe, "src"), entries(recipe, "diff_dst"));
  return is_reorder(recipe) ? 0 : largest_operand(recipe);
}

bool is_product(const Recipe& recipe) {
  for (const char* kind : {"convolution_", "inner_product_", "dense_", "attention"})
    if (recipe.kernel.starts_with(kind)) return true;
  return false;
}

bool is_reorder(const Recipe& recipe) { return recipe.kernel == "reorder" || recipe.kernel == "repack"; }

Cost cost_of(const Recipe& recipe) {
  Cost cost{flops_of(recipe), 0, 1};
  for (const RecipeOperand& operand : recipe.operands)
    cost.bytes += byte_count(operand) * (operand.access == Access::update ? 2 : 1);
  return cost;
}

Cost cost_of(const Plan& plan, const Program& program) {
  Cost cost;
  for (const auto* steps : {&program.refresh, &program.compute, &program.commit})
    for (const Step& step : *steps) cost += cost_of(plan.recipes.at(static_cast<std::size_t>(step.recipe)));
  return cost;
}

}  // namespace weir
