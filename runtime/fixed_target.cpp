// A Target that knows no machine: canonical layouts, no scratch. What it says does not depend on the library either, so
// it must tell the type of a pooling workspace by itself: oneDNN numbers the entries of a window in one byte where that
// is enough.
#include "runtime/error.hpp"
#include "runtime/kernel.hpp"
#include "runtime/recipe_cost.hpp"
#include "runtime/target.hpp"

namespace weir {
namespace {

void settle_workspace(const Recipe& recipe, RecipeOperand& workspace) {
  const RecipeOperand* result = recipe.find("dst");
  workspace.shape = (result ? *result : recipe.operand("diff_dst")).shape;
  workspace.dtype = element_count(recipe.attributes.integers("window")) <= 255 ? DType::u8 : DType::i32;
}

class FixedTarget : public Target {
 public:
  explicit FixedTarget(int threads) : threads_(threads) {}

  Recipe close(const Recipe& open) const override {
    Recipe closed = open;
    for (RecipeOperand& operand : closed.operands)
      if (operand.shape.layout == "any") operand.shape.layout = operand.shape.axes;
    for (RecipeOperand& operand : closed.operands)
      if (operand.role == "workspace") settle_workspace(closed, operand);
    validate_recipe(closed);
    return closed;
  }

  std::string activation_layout(const Dims&, const std::string& axes) const override { return axes; }
  /// A machine that does 50 operations in the time of a byte.
  double seconds(const Recipe& recipe) const override {
    double bytes = 0;
    for (const RecipeOperand& operand : recipe.operands)
      bytes += 4 * static_cast<double>(element_count(operand.shape.dims));
    return 1e-10 * bytes + 2e-12 * flops_of(recipe);
  }

  std::string implementation(const Recipe& closed) const override { return closed.kernel; }
  Fingerprint fingerprint() const override { return {"any", "any", threads_}; }

 private:
  int threads_;
};

}  // namespace

std::unique_ptr<Target> fixed_target(int threads) {
  if (threads < 1)
    throw Error(ErrorCode::invalid_argument,
                "the number of threads is " + std::to_string(threads) + "; it must be at least 1");
  return std::make_unique<FixedTarget>(threads);
}

}  // namespace weir
