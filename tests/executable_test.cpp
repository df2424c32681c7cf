// Recipes as input: whatever is changed in a good one, it is refused with a message or it still runs within its
// buffers.
#include <algorithm>
#include <functional>
#include <set>

#include "runtime/error.hpp"
#include "runtime/onednn/host_target.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

using Integers = std::vector<std::int64_t>;

/// One closed recipe of every primitive and of the kernels that move entries.
std::vector<Recipe> good_recipes() {
  const auto target = host_target(2, ActivationLayout::nhwc);
  const Attributes window{{"strides", Integers{1, 2}},
                          {"dilation", Integers{1, 1}},
                          {"padding", Integers{1, 1, 0, 1}},
                          {"groups", std::int64_t{1}}};
  Attributes with_relu = window, pooling{{"algorithm", "max"},
                                         {"window", Integers{2, 3}},
                                         {"strides", Integers{2, 2}},
                                         {"padding", Integers{0, 1, 1, 0}}};
  with_relu.set("post_op", "relu");
  const Dims image{2, 5, 6, 8}, result{2, 5, 3, 16}, kernel{3, 3, 8, 16}, pooled{2, 3, 3, 8}, rows{4, 8},
      outputs{4, 16}, weights{8, 16};
  const std::string axes = "nhwc";
  const auto vector = [](const char* role, Access access = Access::read) {
    return tensor(role, access, {8}, "o", "o");
  };
  std::vector<Recipe> open{
      {"convolution_forward",
       {read("src", image, axes), read("weights", kernel, "hwio", "any"), read("bias", {16}, "o"),
        write("dst", result, axes)},
       with_relu,
       2},
      {"convolution_backward_data",
       {read("diff_dst", result, axes), read("weights", kernel, "hwio", "any"), write("diff_src", image, axes)},
       window,
       2},
      {"convolution_backward_weights",
       {read("src", image, axes), read("diff_dst", result, axes), write("diff_weights", kernel, "hwio", "any"),
        write("diff_bias", {16}, "o")},
       window,
       2},
      {"inner_product_forward",
       {read("src", rows, "nc"), read("weights", weights, "io", "any"), read("bias", {16}, "o"),
        write("dst", outputs, "nc")},
       {},
       2},
      {"inner_product_backward_data",
       {read("diff_dst", outputs, "nc"), read("weights", weights, "io", "any"), write("diff_src", rows, "nc")},
       {},
       2},
      {"inner_product_backward_weights",
       {read("src", rows, "nc"), read("diff_dst", outputs, "nc"), write("diff_weights", weights, "io", "any"),
        write("diff_bias", {16}, "o")},
       {},
       2},
      {"pooling_forward",
       {read("src", image, axes), write("dst", pooled, axes),
        tensor("workspace", Access::write, pooled, axes, "any", DType::u8)},
       pooling,
       2},
      {"pooling_backward",
       {read("diff_dst", pooled, axes), tensor("workspace", Access::read, pooled, axes, "nhwc", DType::u8),
        write("diff_src", image, axes)},
       pooling,
       2},
      {"batch_normalization_forward",
       {read("src", image, axes), vector("scale"), vector("shift"), write("dst", image, axes),
        vector("mean", Access::write), vector("variance", Access::write)},
       {{"epsilon", 1e-3}},
       2},
      {"batch_normalization_inference",
       {read("src", image, axes), vector("mean"), vector("variance"), vector("scale"), vector("shift"),
        write("dst", image, axes)},
       {{"epsilon", 1e-3}},
       2},
      {"batch_normalization_backward",
       {read("src", image, axes), read("diff_dst", image, axes), vector("mean"), vector("variance"), vector("scale"),
        write("diff_src", image, axes), vector("diff_scale", Access::write), vector("diff_shift", Access::write)},
       {{"epsilon", 1e-3}},
       2},
      {"softmax_forward", {read("src", rows, "nc"), write("dst", rows, "nc")}, {}, 2},
      {"softmax_backward",
       {read("dst", rows, "nc"), read("diff_dst", rows, "nc"), write("diff_src", rows, "nc")},
       {},
       2},
      {"eltwise_forward", {read("src", image, axes), write("dst", image, axes)}, {{"algorithm", "tanh"}}, 2},
      {"reorder", {read("src", image, axes), write("dst", image, axes, "nChw8c")}, {}, 2},
      {"relu_gradient",
       {read("output", image, axes), read("d_output", image, axes), write("d_input", image, axes)},
       {},
       2},
      {"concatenate",
       {read("src_0", rows, "nc"), read("src_1", rows, "nc"), write("dst", outputs, "nc")},
       {{"axis", std::int64_t{1}}},
       2},
      {"slice",
       {read("src", outputs, "nc"), write("dst", rows, "nc")},
       {{"axis", std::int64_t{1}}, {"start", std::int64_t{3}}},
       2},
      {"pointwise",
       {read("a", image, axes), scalar("rate"), write("out", image, axes)},
       {{"expression", "a * rate"}},
       2},
      {"dropout",
       {read("src", rows, "nc"), scalar("seed"), scalar("step"), write("dst", rows, "nc")},
       {{"rate", 0.5}, {"name_hash", std::int64_t{7}}},
       2},
  };
  std::vector<Recipe> closed;
  for (const Recipe& recipe : open) closed.push_back(target->close(recipe));
  return closed;
}

enum class Outcome { refused, ran };

/// Never anything but a refusal in our words or a run.
Outcome outcome_of(const Recipe& recipe) {
  try {
    validate_recipe(recipe);
  } catch (const Error& error) {
    CHECK_MESSAGE(error.code() != ErrorCode::internal, error.what());
    CHECK(std::string(error.what()).size() > 20);
    return Outcome::refused;
  }
  Run(recipe).run();
  return Outcome::ran;
}

using Change = std::function<void(RecipeOperand&)>;

/// Each of these makes a recipe wrong whatever it is.
const std::vector<std::pair<const char*, Change>> wrong_operands{
    {"role", [](RecipeOperand& o) { o.role += "_2"; }},
    {"empty role", [](RecipeOperand& o) { o.role.clear(); }},
    {"access", [](RecipeOperand& o) { o.access = o.access == Access::read ? Access::write : Access::read; }},
    {"update", [](RecipeOperand& o) { o.access = Access::update; }},
    {"type", [](RecipeOperand& o) { o.dtype = o.dtype == DType::f32 ? DType::u8 : DType::f32; }},
    {"one more axis", [](RecipeOperand& o) { o.shape.dims.push_back(1), o.shape.axes += "z", o.shape.layout += "z"; }},
    {"no extent",
     [](RecipeOperand& o) { o.shape.dims.empty() ? o.shape.dims.push_back(0) : void(o.shape.dims[0] = 0); }},
    {"negative extent",
     [](RecipeOperand& o) { o.shape.dims.empty() ? o.shape.dims.push_back(-1) : void(o.shape.dims[0] = -5); }},
    {"huge extent", [](RecipeOperand& o) { o.shape.dims.insert(o.shape.dims.begin(), std::int64_t{1} << 40); }},
    {"open layout", [](RecipeOperand& o) { o.shape.layout = "any"; }},
    {"no layout", [](RecipeOperand& o) { o.shape.layout = "?"; }},
    {"blocked by 3", [](RecipeOperand& o) { o.shape.layout = o.shape.axes + "3" + o.shape.axes; }},
};

}  // namespace

TEST_CASE("good recipes are good") {
  for (const Recipe& recipe : good_recipes()) CHECK(outcome_of(recipe) == Outcome::ran);
}

TEST_CASE("a wrong operand is refused in every recipe") {
  for (const Recipe& good : good_recipes())
    for (std::size_t i = 0; i < good.operands.size(); ++i)
      for (const auto& wrong : wrong_operands) {
        Recipe recipe = good;
        wrong.second(recipe.operands[i]);
        CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused,
                      wrong.first << " of " << good.operands[i].role << ": " << to_string(recipe));
      }
}

TEST_CASE("a changed extent is refused or leaves a recipe that holds together") {
  std::size_t refused = 0;
  for (const Recipe& good : good_recipes())
    for (std::size_t i = 0; i < good.operands.size(); ++i)
      for (std::size_t axis = 0; axis < good.operands[i].shape.dims.size(); ++axis)
        for (std::int64_t change : {-1, 1, 100}) {
          Recipe recipe = good;
          recipe.operands[i].shape.dims[axis] += change;
          const bool one_must_fit = good.operands[i].role != "scratch";
          const Outcome outcome = outcome_of(recipe);
          refused += outcome == Outcome::refused;
          if (one_must_fit && outcome == Outcome::ran)  // only padding and strides may absorb it
            CHECK_MESSAGE((good.kernel.starts_with("convolution") || good.kernel.starts_with("pooling") ||
                           good.kernel == "slice"),
                          to_string(recipe));
        }
  CHECK(refused > 300);
}

TEST_CASE("other layouts are refused or computed") {
  for (const Recipe& good : good_recipes())
    for (std::size_t i = 0; i < good.operands.size(); ++i)
      for (const char* layout : {"nchw", "nChw8c", "nChw16c", "cnhw", "oihw", "OIhw16i16o", "Oihw16o", "oi", "cn",
                                 "OI16i16o", "hwoi", "x"}) {
        Recipe recipe = good;
        recipe.operands[i].shape.layout = layout;
        outcome_of(recipe);
      }
}

TEST_CASE("missing and doubled operands are refused") {
  const std::set<std::string> optional{"bias",  "diff_bias", "workspace",  "scratch",
                                       "scale", "shift",     "diff_scale", "diff_shift"};
  for (const Recipe& good : good_recipes())
    for (std::size_t i = 0; i < good.operands.size(); ++i) {
      Recipe recipe = good;
      recipe.operands.push_back(good.operands[i]);
      CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused, to_string(recipe));
      recipe = good;
      recipe.operands.erase(recipe.operands.begin() + static_cast<std::ptrdiff_t>(i));
      if (optional.contains(good.operands[i].role))
        outcome_of(recipe);
      else
        CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused, to_string(recipe));
    }
}

TEST_CASE("missing, unknown and wrong settings are refused") {
  const std::vector<AttributeValue> values{true,
                                           std::int64_t{-1},
                                           std::int64_t{1} << 40,
                                           -0.5,
                                           1e300,
                                           static_cast<double>(NAN),
                                           std::string("other"),
                                           Integers{},
                                           Integers{0, 0},
                                           Integers{-1, -1, -1, -1},
                                           Integers{1 << 30, 1 << 30},
                                           Integers{1 << 30, 0, 0, 0},
                                           std::vector<double>{1, 1}};
  for (const Recipe& good : good_recipes()) {
    Recipe recipe = good;
    recipe.attributes.set("unknown", 1.0);
    CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused, to_string(recipe));
    for (const auto& [name, value] : good.attributes) {
      if (name != "post_op") {
        recipe = good;
        recipe.attributes.erase(name);
        CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused, to_string(recipe));
      }
      for (const AttributeValue& other : values) {
        recipe = good;
        recipe.attributes.set(name, other);
        const bool may_fit = name == "name_hash" || (name == "epsilon" && other.index() == 1);
        if (may_fit)
          outcome_of(recipe);
        else
          CHECK_MESSAGE(outcome_of(recipe) == Outcome::refused, to_string(recipe));
      }
    }
  }
}

TEST_CASE("threads out of range and unknown kernels are refused") {
  for (const Recipe& good : good_recipes())
    for (int threads : {0, -1, 1 << 20}) {
      Recipe recipe = good;
      recipe.threads = threads;
      CHECK(outcome_of(recipe) == Outcome::refused);
    }
  CHECK(outcome_of({"", {}, {}, 1}) == Outcome::refused);
  CHECK(outcome_of({"convolution", {}, {}, 1}) == Outcome::refused);
  CHECK_THROWS_AS(in_place_of({"convolution", {}, {}, 1}), Error);
}

TEST_CASE("the kernel table is sorted and finds each kernel by its name") {
  const auto table = kernels_table();
  REQUIRE(!table.empty());
  CHECK(std::is_sorted(table.begin(), table.end(), [](const auto* a, const auto* b) { return a->name < b->name; }));
  for (const KernelDef* kernel : table) {
    CHECK(find_kernel(kernel->name) == kernel);
    CHECK(bool(kernel->validate));
    CHECK(bool(kernel->create));
    CHECK(!kernel->summary.empty());
  }
  CHECK(find_kernel("convolution_forward") == nullptr);
  CHECK(find_kernel("") == nullptr);
}
