// The gradient of max pooling (runtime/kernels/pooling_max_backward.cpp), against naive loops, with workspaces that the
// library's forward step wrote.
#include <cmath>

#include "runtime/onednn/ways.hpp"
#include "tests/message_of.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct Pool {
  std::int64_t n, h, w, channels;
  std::vector<std::int64_t> window = {2, 2}, strides = {2, 2}, padding = {0, 0, 0, 0};

  std::int64_t oh() const { return (h + padding[0] + padding[1] - window[0]) / strides[0] + 1; }
  std::int64_t ow() const { return (w + padding[2] + padding[3] - window[1]) / strides[1] + 1; }
  Dims image() const { return {n, h, w, channels}; }
  Dims pooled() const { return {n, oh(), ow(), channels}; }
  Attributes settings() const {
    return {{"algorithm", "max"}, {"window", window}, {"strides", strides}, {"padding", padding}};
  }
  Recipe forward(const std::string& layout) const {
    return {"pooling_forward",
            {read("src", image(), "nhwc", layout), write("dst", pooled(), "nhwc", layout),
             tensor("workspace", Access::write, pooled(), "nhwc", layout, DType::u8)},
            settings(),
            1};
  }
  Recipe backward(const std::string& kernel, const std::string& layout, int threads) const {
    return {kernel,
            {read("diff_dst", pooled(), "nhwc", layout),
             tensor("workspace", Access::read, pooled(), "nhwc", layout, DType::u8),
             write("diff_src", image(), "nhwc", layout)},
            settings(),
            threads};
  }

  /// Of equal cells the first in scan order counts.
  std::vector<double> gradient(const Values& x, const Values& d) const {
    std::vector<double> result(x.size());
    for (std::int64_t b = 0; b < n; ++b)
      for (std::int64_t y = 0; y < oh(); ++y)
        for (std::int64_t z = 0; z < ow(); ++z)
          for (std::int64_t c = 0; c < channels; ++c) {
            std::int64_t most = -1;
            for (std::int64_t i = 0; i < window[0]; ++i)
              for (std::int64_t j = 0; j < window[1]; ++j) {
                const std::int64_t sy = y * strides[0] + i - padding[0], sz = z * strides[1] + j - padding[2];
                if (sy < 0 || sy >= h || sz < 0 || sz >= w) continue;
                const std::int64_t at = ((b * h + sy) * w + sz) * channels + c;
                if (most < 0 || x[static_cast<std::size_t>(at)] > x[static_cast<std::size_t>(most)]) most = at;
              }
            result[static_cast<std::size_t>(most)] +=
                static_cast<double>(d[static_cast<std::size_t>(((b * oh() + y) * ow() + z) * channels + c)]);
          }
    return result;
  }
};

const Pool pools[] = {
    {2, 6, 8, 32},
    {1, 1, 1, 1, {1, 1}, {1, 1}},
    {3, 5, 7, 19},                                // cells that lie in no window
    {2, 7, 6, 24, {3, 3}, {2, 2}, {1, 1, 0, 1}},  // windows that overlap, padding
    {2, 7, 9, 16, {2, 1}, {3, 4}},                // cells between windows
    {1, 5, 5, 40, {3, 2}, {1, 1}, {2, 0, 1, 1}},  // every cell in several windows
    {2, 6, 6, 7, {2, 2}, {2, 2}, {1, 1, 1, 1}},   // padding without overlap
    {5, 4, 30, 8, {1, 15}, {4, 15}},              // covered in one direction alone
};

}  // namespace

TEST_CASE("the gradient of max pooling is what naive loops give, in every layout, and on any number of threads") {
  for (const Pool& pool : pools)
    for (const std::string layout : {"nhwc", "nChw8c", "nChw16c"}) {
      Values x = numbers(element_count(pool.image()));
      for (float& value : x) value = std::round(value * 3);  // ties
      const Values d = numbers(element_count(pool.pooled()), 1);
      Run forward(pool.forward(layout));
      forward.set("src", x).run();
      const std::vector<double> expected = pool.gradient(x, d);
      std::vector<Values> made;
      for (int threads : {1, 2, 3}) {
        Run run(pool.backward("pooling_max_backward", layout, threads));
        made.push_back(run.set("diff_dst", d).take("workspace", forward).run().get("diff_src"));
        CHECK_MESSAGE(difference(made.back(), expected) < 1e-6, to_string(run.recipe()));
      }
      CHECK(made[0] == made[1]);
      CHECK(made[0] == made[2]);
    }
}

TEST_CASE("without the widest vectors the gradient of max pooling is ours, where a byte counts the cells") {
  const auto kernel_of = [](const Pool& pool, const std::string& layout, DType dtype = DType::u8) {
    Recipe open = pool.backward("pooling_backward", layout, 2);
    open.operands[1].dtype = dtype;
    return usual_way(open).kernel;
  };
  const std::string expected = has_widest_vectors() ? "pooling_backward" : "pooling_max_backward";
  for (const char* layout : {"nhwc", "nChw8c", "nChw16c"}) CHECK(kernel_of(pools[0], layout) == expected);
  CHECK(kernel_of(pools[0], "nchw") == "pooling_backward");
  CHECK(kernel_of(pools[0], "nhwc", DType::i32) == "pooling_backward");
  Recipe average = pools[0].backward("pooling_backward", "nhwc", 2);
  average.attributes.set("algorithm", std::string("average"));
  average.operands.erase(average.operands.begin() + 1);
  CHECK(usual_way(average).kernel == "pooling_backward");
}

TEST_CASE("a gradient of max pooling that does not hold together is refused") {
  const auto refusal = [](const Pool& pool, auto change) {
    Recipe recipe = pool.backward("pooling_max_backward", "nhwc", 1);
    change(recipe);
    return message_of([&] { validate_recipe(recipe); });
  };
  const Pool& good = pools[3];
  const auto says = [&](const std::string& words, auto change) {
    const std::string message = refusal(good, change);
    CHECK_MESSAGE(message.find(words) != std::string::npos, message);
  };
  says("(nothing was thrown)", [](Recipe&) {});
  says("cannot be \"average\"", [](Recipe& r) { r.attributes.set("algorithm", std::string("average")); });
  says("one layout", [](Recipe& r) { r.operands[2].shape.layout = "nChw8c"; });
  says("in the layout", [](Recipe& r) {
    for (RecipeOperand& operand : r.operands) operand.shape.layout = "nchw";
  });
  says("number of images", [](Recipe& r) { r.operands[2].shape.dims[0] = 3; });
  says("number of images", [](Recipe& r) { r.operands[2].shape.dims[3] = 25; });
  says("do not lead", [](Recipe& r) { r.operands[2].shape.dims[1] = 9; });
  says("do not lead", [](Recipe& r) { r.attributes.set("strides", Dims{2, 1}); });
  says("smaller than the window", [](Recipe& r) { r.attributes.set("padding", Dims{1, 1, 3, 0}); });
  says("too large for positions of a byte", [](Recipe& r) { r.attributes.set("window", Dims{16, 16}); });
  says("workspace", [](Recipe& r) { r.operands[1].shape.dims[1] = 2; });
}
