// A convolution for tests of kernels: its recipes in all three directions, and its products one by one.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "tests/run_recipe.hpp"

namespace weir::test {

struct ConvolutionLayer {
  std::int64_t n, h, w, in, out, kh = 3, kw = 3;
  std::vector<std::int64_t> strides = {1, 1}, padding = {0, 0, 0, 0};
  std::string layout = "nhwc";

  std::int64_t oh() const { return (h + padding[0] + padding[1] - kh) / strides[0] + 1; }
  std::int64_t ow() const { return (w + padding[2] + padding[3] - kw) / strides[1] + 1; }
  Dims source() const { return {n, h, w, in}; }
  Dims kernel() const { return {kh, kw, in, out}; }
  Dims result() const { return {n, oh(), ow(), out}; }

  /// prefix + "forward", "backward_data" or "backward_weights", with bias; the kernel's layout is `weights`.
  Recipe recipe(const std::string& prefix, const std::string& direction, int threads,
                const std::string& weights) const {
    Recipe recipe{prefix + direction, {}, {}, threads};
    if (direction == "forward")
      recipe.operands = {read("src", source(), "nhwc", layout), read("weights", kernel(), "hwio", weights),
                         read("bias", {out}, "o"), write("dst", result(), "nhwc", layout)};
    else if (direction == "backward_data")
      recipe.operands = {read("diff_dst", result(), "nhwc", layout), read("weights", kernel(), "hwio", weights),
                         write("diff_src", source(), "nhwc", layout)};
    else
      recipe.operands = {read("src", source(), "nhwc", layout), read("diff_dst", result(), "nhwc", layout),
                         write("diff_weights", kernel(), "hwio", weights), write("diff_bias", {out}, "o")};
    recipe.attributes.set("strides", strides);
    recipe.attributes.set("dilation", std::vector<std::int64_t>{1, 1});
    recipe.attributes.set("padding", padding);
    recipe.attributes.set("groups", std::int64_t{1});
    return recipe;
  }
  /// As the compiler asks for it.
  Recipe open(const std::string& direction, int threads = 1) const {
    return recipe("convolution_", direction, threads, "any");
  }

  /// visit(source, kernel, result) for every product.
  template <class Visit>
  void each(const Visit& visit) const {
    for (std::int64_t b = 0; b < n; ++b)
      for (std::int64_t y = 0; y < oh(); ++y)
        for (std::int64_t x = 0; x < ow(); ++x)
          for (std::int64_t i = 0; i < kh; ++i)
            for (std::int64_t j = 0; j < kw; ++j) {
              const std::int64_t sy = y * strides[0] + i - padding[0], sx = x * strides[1] + j - padding[2];
              if (sy < 0 || sy >= h || sx < 0 || sx >= w) continue;
              for (std::int64_t c = 0; c < in; ++c)
                for (std::int64_t o = 0; o < out; ++o)
                  visit(static_cast<std::size_t>(((b * h + sy) * w + sx) * in + c),
                        static_cast<std::size_t>(((i * kw + j) * in + c) * out + o),
                        static_cast<std::size_t>(((b * oh() + y) * ow() + x) * out + o));
            }
  }

  /// In double, by naive loops.
  std::vector<double> results(const Values& x, const Values& w, const Values& bias, bool relu) const {
    std::vector<double> results(static_cast<std::size_t>(element_count(result())));
    for (std::size_t i = 0; i < results.size(); ++i) results[i] = bias.empty() ? 0 : bias[i % bias.size()];
    each([&](auto s, auto k, auto r) { results[r] += double{x[s]} * w[k]; });
    for (double& value : results) value = relu ? std::max(value, 0.0) : value;
    return results;
  }
  std::vector<double> gradient_of_source(const Values& g, const Values& w) const {
    std::vector<double> gradient(static_cast<std::size_t>(element_count(source())));
    each([&](auto s, auto k, auto r) { gradient[s] += double{g[r]} * w[k]; });
    return gradient;
  }
  std::vector<double> gradient_of_kernel(const Values& x, const Values& g) const {
    std::vector<double> gradient(static_cast<std::size_t>(element_count(kernel())));
    each([&](auto s, auto k, auto r) { gradient[k] += double{x[s]} * g[r]; });
    return gradient;
  }
  std::vector<double> gradient_of_bias(const Values& g) const {
    std::vector<double> gradient(static_cast<std::size_t>(out));
    for (std::size_t i = 0; i < g.size(); ++i) gradient[i % gradient.size()] += g[i];
    return gradient;
  }
};

}  // namespace weir::test
