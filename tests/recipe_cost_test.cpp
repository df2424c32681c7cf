#include "runtime/recipe_cost.hpp"

#include <doctest/doctest.h>

#include "runtime/kernel.hpp"

using namespace weir;

namespace {

RecipeOperand operand(const char* role, Access access, Dims dims, const char* axes) {
  return {role, access, DType::f32, {std::move(dims), axes, axes}};
}

}  // namespace

TEST_CASE("an inner product costs two operations a weight and row, and one a bias") {
  Recipe recipe{"inner_product_forward",
                {operand("src", Access::read, {4, 8}, "nc"), operand("weights", Access::read, {8, 3}, "io"),
                 operand("bias", Access::read, {3}, "o"), operand("dst", Access::write, {4, 3}, "nc")}};
  const Cost cost = cost_of(recipe);
  CHECK(cost.flops == 2 * 4 * 8 * 3 + 4 * 3);
  CHECK(cost.bytes == 4 * (32 + 24 + 3 + 12));
  recipe.operands[3].access = Access::update;
  CHECK(cost_of(recipe).bytes == cost.bytes + 4 * 12);
}

TEST_CASE("a convolution costs its window for every entry of the result, forward and backward alike") {
  Recipe recipe{
      "convolution_forward",
      {operand("src", Access::read, {2, 6, 6, 3}, "nhwc"), operand("weights", Access::read, {3, 3, 3, 5}, "hwio"),
       operand("dst", Access::write, {2, 4, 4, 5}, "nhwc")}};
  const double forward = cost_of(recipe).flops;
  CHECK(forward == 2.0 * 2 * 4 * 4 * 5 * 3 * 3 * 3);
  recipe.operands[0].role = "diff_src";
  recipe.operands[2].role = "diff_dst";
  CHECK(cost_of(recipe).flops == forward);
}

TEST_CASE("a copy into other layouts costs what it reads and writes, with padding, and no arithmetic") {
  const auto as = [](RecipeOperand operand, const char* layout) {
    operand.shape.layout = layout;
    return operand;
  };
  const Recipe recipe{
      "repack",
      {operand("src", Access::read, {8, 3}, "io"), as(operand("dst", Access::write, {8, 3}, "io"), "Oi4o"),
       operand("src_2", Access::read, {5, 7}, "io"), as(operand("dst_2", Access::write, {5, 7}, "io"), "oi")}};
  CHECK(is_reorder(recipe));
  CHECK(cost_of(recipe).flops == 0);
  CHECK(cost_of(recipe).bytes == 4 * (24 + 32 + 35 + 35));
  CHECK(cost_of(recipe_of_tensor(recipe, 0)).bytes == 4 * (24 + 32));
  CHECK(cost_of(recipe_of_tensor(recipe, 1)).bytes == 4 * (35 + 35));
}

TEST_CASE("pooling looks at each place of its window once") {
  const Recipe recipe{
      "pooling_forward",
      {operand("src", Access::read, {1, 4, 4, 2}, "nhwc"), operand("dst", Access::write, {1, 2, 2, 2}, "nhwc")},
      {{"window", std::vector<std::int64_t>{2, 2}}}};
  CHECK(cost_of(recipe).flops == 8 * 4);
}
