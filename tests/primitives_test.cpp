// oneDNN primitives made from recipes, against naive loops in double, in every activation layout, with 1 and 2 threads.
#include <algorithm>
#include <functional>

#include "runtime/error.hpp"
#include "runtime/onednn/host_target.hpp"
#include "tests/run_recipe.hpp"

using namespace weir;
using namespace weir::test;

namespace {

using Doubles = std::vector<double>;
using Integers = std::vector<std::int64_t>;

constexpr ActivationLayout layouts[] = {ActivationLayout::nhwc, ActivationLayout::blocked_8,
                                        ActivationLayout::blocked_16};

/// Calls test(target) for each activation layout and number of threads.
void for_each_target(const std::function<void(const Target&)>& test) {
  for (int threads : {1, 2})
    for (ActivationLayout layout : layouts) test(*host_target(threads, layout));
  test(*fixed_target(1));
}

struct Convolution {
  std::int64_t n, h, w, in, out, kh, kw;
  Integers strides{1, 1}, dilation{1, 1}, padding{0, 0, 0, 0};
  std::int64_t groups = 1;

  static std::int64_t size(std::int64_t in, std::int64_t k, std::int64_t s, std::int64_t d, std::int64_t pad) {
    return (in + pad - ((k - 1) * d + 1)) / s + 1;
  }
  std::int64_t oh() const { return size(h, kh, strides[0], dilation[0], padding[0] + padding[1]); }
  std::int64_t ow() const { return size(w, kw, strides[1], dilation[1], padding[2] + padding[3]); }
  Dims source() const { return {n, h, w, in}; }
  Dims result() const { return {n, oh(), ow(), out}; }
  Dims kernel() const { return groups > 1 ? Dims{kh, kw, in / groups, groups, out / groups} : Dims{kh, kw, in, out}; }
  std::string kernel_axes() const { return groups > 1 ? "hwigo" : "hwio"; }
  Attributes attributes() const {
    return {{"strides", strides}, {"dilation", dilation}, {"padding", padding}, {"groups", groups}};
  }

  /// visit(source index, kernel index, result index, output channel) for each product; a Keras kernel is [kh, kw,
  /// in/groups, out].
  template <class Visit>
  void each(Visit visit) const {
    const std::int64_t gi = in / groups, go = out / groups;
    for (std::int64_t b = 0; b < n; ++b)
      for (std::int64_t y = 0; y < oh(); ++y)
        for (std::int64_t x = 0; x < ow(); ++x)
          for (std::int64_t ky = 0; ky < kh; ++ky)
            for (std::int64_t kx = 0; kx < kw; ++kx) {
              const std::int64_t sy = y * strides[0] + ky * dilation[0] - padding[0];
              const std::int64_t sx = x * strides[1] + kx * dilation[1] - padding[2];
              if (sy < 0 || sy >= h || sx < 0 || sx >= w) continue;
              for (std::int64_t o = 0; o < out; ++o)
                for (std::int64_t i = 0; i < gi; ++i)
                  visit(static_cast<std::size_t>(((b * h + sy) * w + sx) * in + o / go * gi + i),
                        static_cast<std::size_t>(((ky * kw + kx) * gi + i) * out + o),
                        static_cast<std::size_t>(((b * oh() + y) * ow() + x) * out + o));
            }
  }
};

const Convolution convolutions[] = {
    {.n = 1, .h = 5, .w = 5, .in = 1, .out = 8, .kh = 3, .kw = 3, .padding = {1, 1, 1, 1}},
    {.n = 3, .h = 7, .w = 9, .in = 3, .out = 16, .kh = 3, .kw = 3},
    {.n = 2, .h = 8, .w = 8, .in = 16, .out = 32, .kh = 3, .kw = 3, .padding = {1, 1, 1, 1}},
    {.n = 9, .h = 5, .w = 4, .in = 16, .out = 16, .kh = 1, .kw = 1},
    {.n = 2, .h = 9, .w = 11, .in = 8, .out = 24, .kh = 3, .kw = 2, .strides = {2, 3}, .padding = {0, 1, 1, 0}},
    {.n = 2, .h = 9, .w = 9, .in = 16, .out = 16, .kh = 3, .kw = 3, .dilation = {2, 2}, .padding = {2, 2, 2, 2}},
    {.n = 4, .h = 6, .w = 6, .in = 16, .out = 32, .kh = 3, .kw = 3, .padding = {1, 1, 1, 1}, .groups = 2},
    {.n = 2, .h = 6, .w = 6, .in = 16, .out = 16, .kh = 3, .kw = 3, .padding = {1, 1, 1, 1}, .groups = 16},
    {.n = 5, .h = 6, .w = 6, .in = 5, .out = 7, .kh = 5, .kw = 5, .padding = {2, 2, 2, 2}},
    {.n = 7, .h = 4, .w = 4, .in = 10, .out = 6, .kh = 2, .kw = 2, .strides = {2, 2}, .groups = 2},
};

void check_close(const Values& actual, const Doubles& expected, const Recipe& recipe, double tolerance = 3e-6) {
  CHECK_MESSAGE(difference(actual, expected) < tolerance, to_string(recipe));
}

std::string image(const Target& target, const Dims& dims) { return target.activation_layout(dims, "nhwc"); }

}  // namespace

TEST_CASE("a convolution with bias and activation gives what naive loops give") {
  for_each_target([](const Target& target) {
    for (const Convolution& c : convolutions)
      for (const std::string post_op : {"", "relu", "tanh", "logistic"}) {
        Recipe open{"convolution_forward",
                    {read("src", c.source(), "nhwc", image(target, c.source())),
                     read("weights", c.kernel(), c.kernel_axes(), "any"), read("bias", {c.out}, "o"),
                     write("dst", c.result(), "nhwc", image(target, c.result()))},
                    c.attributes(),
                    target.threads()};
        if (!post_op.empty()) open.attributes.set("post_op", post_op);
        Run run(target.close(open));
        const Values x = numbers(element_count(c.source())), w = numbers(element_count(c.kernel()), 1),
                     b = numbers(c.out, 2);
        Doubles expected(static_cast<std::size_t>(element_count(c.result())));
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = b[i % b.size()];
        c.each([&](auto s, auto k, auto r) { expected[r] += double{x[s]} * w[k]; });
        for (double& v : expected)
          v = post_op == "relu"       ? std::max(v, 0.0)
              : post_op == "tanh"     ? std::tanh(v)
              : post_op == "logistic" ? 1 / (1 + std::exp(-v))
                                      : v;
        check_close(run.set("src", x).set("weights", w).set("bias", b).run().get("dst"), expected, run.recipe());
      }
  });
}

TEST_CASE("a convolution without bias leaves it out") {
  const Convolution& c = convolutions[2];
  for_each_target([&](const Target& target) {
    Run run(target.close({"convolution_forward",
                          {read("src", c.source(), "nhwc", image(target, c.source())),
                           read("weights", c.kernel(), c.kernel_axes(), "any"),
                           write("dst", c.result(), "nhwc", image(target, c.result()))},
                          c.attributes(),
                          target.threads()}));
    const Values x = numbers(element_count(c.source())), w = numbers(element_count(c.kernel()), 1);
    Doubles expected(static_cast<std::size_t>(element_count(c.result())));
    c.each([&](auto s, auto k, auto r) { expected[r] += double{x[s]} * w[k]; });
    check_close(run.set("src", x).set("weights", w).run().get("dst"), expected, run.recipe());
  });
}

TEST_CASE("both gradients of a convolution are those of naive loops") {
  for_each_target([](const Target& target) {
    for (const Convolution& c : convolutions) {
      const Values x = numbers(element_count(c.source())), w = numbers(element_count(c.kernel()), 1),
                   d = numbers(element_count(c.result()), 3);
      Doubles dx(x.size()), dw(w.size()), db(static_cast<std::size_t>(c.out));
      c.each([&](auto s, auto k, auto r) {
        dx[s] += double{d[r]} * w[k];
        dw[k] += double{d[r]} * x[s];
      });
      for (std::size_t i = 0; i < d.size(); ++i) db[i % db.size()] += d[i];

      Run data(target.close({"convolution_backward_data",
                             {read("diff_dst", c.result(), "nhwc", image(target, c.result())),
                              read("weights", c.kernel(), c.kernel_axes(), "any"),
                              write("diff_src", c.source(), "nhwc", image(target, c.source()))},
                             c.attributes(),
                             target.threads()}));
      check_close(data.set("diff_dst", d).set("weights", w).run().get("diff_src"), dx, data.recipe());

      Run weights(
          target.close({"convolution_backward_weights",
                        {read("src", c.source(), "nhwc", image(target, c.source())),
                         read("diff_dst", c.result(), "nhwc", image(target, c.result())),
                         write("diff_weights", c.kernel(), c.kernel_axes(), "any"), write("diff_bias", {c.out}, "o")},
                        c.attributes(),
                        target.threads()}));
      weights.set("src", x).set("diff_dst", d).run();
      check_close(weights.get("diff_weights"), dw, weights.recipe());
      check_close(weights.get("diff_bias"), db, weights.recipe());
    }
  });
}

TEST_CASE("a dense layer and its gradients are those of naive loops") {
  struct Dense {
    std::int64_t rows, in, out;
  };
  for_each_target([](const Target& target) {
    for (const Dense& c : {Dense{1, 3, 5}, Dense{9, 16, 16}, Dense{32, 100, 10}, Dense{7, 33, 65}}) {
      const Dims in{c.rows, c.in}, out{c.rows, c.out}, kernel{c.in, c.out};
      const Values x = numbers(c.rows * c.in), w = numbers(c.in * c.out, 1), b = numbers(c.out, 2),
                   d = numbers(c.rows * c.out, 3);
      Doubles y(d.size()), dx(x.size()), dw(w.size()), db(b.size());
      for (std::size_t row = 0; row < static_cast<std::size_t>(c.rows); ++row)
        for (std::size_t o = 0; o < b.size(); ++o) {
          const std::size_t r = row * b.size() + o;
          y[r] = b[o];
          db[o] += d[r];
          for (std::size_t i = 0; i < static_cast<std::size_t>(c.in); ++i) {
            const std::size_t s = row * static_cast<std::size_t>(c.in) + i, k = i * b.size() + o;
            y[r] += double{x[s]} * w[k];
            dx[s] += double{d[r]} * w[k];
            dw[k] += double{d[r]} * x[s];
          }
          y[r] = std::max(y[r], 0.0);
        }
      const int threads = target.threads();
      Run forward(target.close({"inner_product_forward",
                                {read("src", in, "nc"), read("weights", kernel, "io", "any"),
                                 read("bias", {c.out}, "o"), write("dst", out, "nc")},
                                {{"post_op", "relu"}},
                                threads}));
      check_close(forward.set("src", x).set("weights", w).set("bias", b).run().get("dst"), y, forward.recipe());
      Run data(target.close(
          {"inner_product_backward_data",
           {read("diff_dst", out, "nc"), read("weights", kernel, "io", "any"), write("diff_src", in, "nc")},
           {},
           threads}));
      check_close(data.set("diff_dst", d).set("weights", w).run().get("diff_src"), dx, data.recipe());
      Run weights(target.close({"inner_product_backward_weights",
                                {read("src", in, "nc"), read("diff_dst", out, "nc"),
                                 write("diff_weights", kernel, "io", "any"), write("diff_bias", {c.out}, "o")},
                                {},
                                threads}));
      weights.set("src", x).set("diff_dst", d).run();
      check_close(weights.get("diff_weights"), dw, weights.recipe());
      check_close(weights.get("diff_bias"), db, weights.recipe());
    }
  });
}

namespace {

struct Pooling {
  std::int64_t n, h, w, c;
  Integers window, strides, padding{0, 0, 0, 0};
  Dims source() const { return {n, h, w, c}; }
  Dims result() const {
    return {n, Convolution::size(h, window[0], strides[0], 1, padding[0] + padding[1]),
            Convolution::size(w, window[1], strides[1], 1, padding[2] + padding[3]), c};
  }
  Attributes attributes(const std::string& algorithm) const {
    return {{"algorithm", algorithm}, {"window", window}, {"strides", strides}, {"padding", padding}};
  }
  /// visit(result index, source indices of its window).
  template <class Visit>
  void each(Visit visit) const {
    const Dims out = result();
    for (std::int64_t r = 0; r < element_count(out); ++r) {
      const std::int64_t k = r % c, x = r / c % out[2], y = r / c / out[2] % out[1], b = r / c / out[2] / out[1];
      std::vector<std::size_t> inside;
      for (std::int64_t sy = y * strides[0] - padding[0]; sy < y * strides[0] - padding[0] + window[0]; ++sy)
        for (std::int64_t sx = x * strides[1] - padding[2]; sx < x * strides[1] - padding[2] + window[1]; ++sx)
          if (sy >= 0 && sy < h && sx >= 0 && sx < w)
            inside.push_back(static_cast<std::size_t>(((b * h + sy) * w + sx) * c + k));
      visit(static_cast<std::size_t>(r), inside);
    }
  }
};

const Pooling poolings[] = {
    {.n = 2, .h = 6, .w = 8, .c = 16, .window = {2, 2}, .strides = {2, 2}},
    {.n = 3, .h = 7, .w = 7, .c = 8, .window = {2, 2}, .strides = {2, 2}},
    {.n = 1, .h = 7, .w = 5, .c = 3, .window = {3, 2}, .strides = {2, 1}, .padding = {1, 1, 0, 1}},
    {.n = 9, .h = 5, .w = 5, .c = 32, .window = {3, 3}, .strides = {1, 1}, .padding = {1, 1, 1, 1}},
    {.n = 2, .h = 17, .w = 17, .c = 8, .window = {17, 17}, .strides = {1, 1}},  // more than 255 entries: a wider
                                                                                // workspace
};

}  // namespace

TEST_CASE("max pooling and its gradient choose the largest entry of each window") {
  for_each_target([](const Target& target) {
    for (const Pooling& c : poolings) {
      const Values x = numbers(element_count(c.source())), d = numbers(element_count(c.result()), 1);
      Doubles y(d.size()), dx(x.size());
      c.each([&](std::size_t r, const std::vector<std::size_t>& inside) {
        const std::size_t best =
            *std::max_element(inside.begin(), inside.end(), [&](auto a, auto b) { return x[a] < x[b]; });
        y[r] = x[best];
        dx[best] += d[r];
      });
      const std::string in = image(target, c.source()), out = image(target, c.result());
      Run forward(target.close({"pooling_forward",
                                {read("src", c.source(), "nhwc", in), write("dst", c.result(), "nhwc", out),
                                 tensor("workspace", Access::write, c.result(), "nhwc", "any", DType::u8)},
                                c.attributes("max"),
                                target.threads()}));
      check_close(forward.set("src", x).run().get("dst"), y, forward.recipe(), 1e-9);
      RecipeOperand workspace = forward.recipe().operand("workspace");
      workspace.access = Access::read;
      Run backward(target.close(
          {"pooling_backward",
           {read("diff_dst", c.result(), "nhwc", out), workspace, write("diff_src", c.source(), "nhwc", in)},
           c.attributes("max"),
           target.threads()}));
      check_close(backward.set("diff_dst", d).take("workspace", forward).run().get("diff_src"), dx, backward.recipe());
      Run inference(target.close({"pooling_forward",
                                  {read("src", c.source(), "nhwc", in), write("dst", c.result(), "nhwc", out)},
                                  c.attributes("max"),
                                  target.threads()}));
      check_close(inference.set("src", x).run().get("dst"), y, inference.recipe(), 1e-9);
    }
  });
}

TEST_CASE("average pooling divides by the entries inside the image") {
  for_each_target([](const Target& target) {
    for (const Pooling& c : poolings) {
      const Values x = numbers(element_count(c.source())), d = numbers(element_count(c.result()), 1);
      Doubles y(d.size()), dx(x.size());
      c.each([&](std::size_t r, const std::vector<std::size_t>& inside) {
        for (std::size_t s : inside) y[r] += x[s] / static_cast<double>(inside.size());
        for (std::size_t s : inside) dx[s] += d[r] / static_cast<double>(inside.size());
      });
      const std::string in = image(target, c.source()), out = image(target, c.result());
      Run forward(target.close({"pooling_forward",
                                {read("src", c.source(), "nhwc", in), write("dst", c.result(), "nhwc", out)},
                                c.attributes("average"),
                                target.threads()}));
      check_close(forward.set("src", x).run().get("dst"), y, forward.recipe());
      Run backward(target.close({"pooling_backward",
                                 {read("diff_dst", c.result(), "nhwc", out), write("diff_src", c.source(), "nhwc", in)},
                                 c.attributes("average"),
                                 target.threads()}));
      check_close(backward.set("diff_dst", d).run().get("diff_src"), dx, backward.recipe());
    }
  });
}

namespace {

/// Per channel over the last axis, with the statistics of the batch.
struct Normalized {
  Doubles mean, variance, y, xhat;
  Normalized(const Values& x, const Values& scale, const Values& shift, double epsilon)
      : mean(scale.size()), variance(scale.size()), y(x.size()), xhat(x.size()) {
    const std::size_t c = scale.size();
    const double m = static_cast<double>(x.size() / c);
    for (std::size_t i = 0; i < x.size(); ++i) mean[i % c] += x[i] / m;
    for (std::size_t i = 0; i < x.size(); ++i) variance[i % c] += (x[i] - mean[i % c]) * (x[i] - mean[i % c]) / m;
    for (std::size_t i = 0; i < x.size(); ++i) {
      xhat[i] = (x[i] - mean[i % c]) / std::sqrt(variance[i % c] + epsilon);
      y[i] = xhat[i] * scale[i % c] + shift[i % c];
    }
  }
};

Values narrowed(const Doubles& values) { return {values.begin(), values.end()}; }

const Dims normalized_shapes[] = {{2, 3, 5, 16}, {9, 4, 4, 8}, {3, 2, 2, 5}, {8, 12}};

}  // namespace

TEST_CASE("batch normalization uses and gives the biased statistics of the batch") {
  for_each_target([](const Target& target) {
    for (const Dims& dims : normalized_shapes) {
      const std::string axes = activation_axes(dims.size() - 1), layout = target.activation_layout(dims, axes);
      const std::int64_t c = dims.back();
      const Values x = numbers(element_count(dims)), scale = numbers(c, 1), shift = numbers(c, 2),
                   ones(scale.size(), 1.0f), zeros(scale.size(), 0.0f);
      for (const bool affine : {true, false}) {
        Recipe open{
            "batch_normalization_forward", {read("src", dims, axes, layout)}, {{"epsilon", 1e-3}}, target.threads()};
        if (affine) open.operands.insert(open.operands.end(), {read("scale", {c}, "o"), read("shift", {c}, "o")});
        open.operands.insert(open.operands.end(),
                             {write("dst", dims, axes, layout), write("mean", {c}, "o"), write("variance", {c}, "o")});
        Run run(target.close(open));
        if (affine) run.set("scale", scale).set("shift", shift);
        run.set("src", x).run();
        const Normalized expected(x, affine ? scale : ones, affine ? shift : zeros, 1e-3);
        check_close(run.get("dst"), expected.y, run.recipe(), 1e-5);
        check_close(run.get("mean"), expected.mean, run.recipe());
        check_close(run.get("variance"), expected.variance, run.recipe());
      }
    }
  });
}

TEST_CASE("batch normalization in evaluation uses the statistics it is given") {
  for_each_target([](const Target& target) {
    for (const Dims& dims : normalized_shapes) {
      const std::string axes = activation_axes(dims.size() - 1), layout = target.activation_layout(dims, axes);
      const std::int64_t c = dims.back();
      const Values x = numbers(element_count(dims)), mean = numbers(c, 1), scale = numbers(c, 2), shift = numbers(c, 3);
      Values variance = numbers(c, 4);
      for (float& v : variance) v = v * v + 0.1f;
      Run run(target.close({"batch_normalization_inference",
                            {read("src", dims, axes, layout), read("mean", {c}, "o"), read("variance", {c}, "o"),
                             read("scale", {c}, "o"), read("shift", {c}, "o"), write("dst", dims, axes, layout)},
                            {{"epsilon", 1e-3}},
                            target.threads()}));
      Doubles expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t k = i % mean.size();
        expected[i] = (x[i] - double{mean[k]}) / std::sqrt(variance[k] + 1e-3) * scale[k] + shift[k];
      }
      run.set("src", x).set("mean", mean).set("variance", variance).set("scale", scale).set("shift", shift).run();
      check_close(run.get("dst"), expected, run.recipe(), 1e-5);
    }
  });
}

TEST_CASE("the gradient of batch normalization goes through the statistics") {
  for_each_target([](const Target& target) {
    for (const Dims& dims : normalized_shapes) {
      const std::string axes = activation_axes(dims.size() - 1), layout = target.activation_layout(dims, axes);
      const std::int64_t c = dims.back();
      const Values x = numbers(element_count(dims)), scale = numbers(c, 1), zeros(scale.size(), 0.0f),
                   d = numbers(element_count(dims), 5);
      const Normalized forward(x, scale, zeros, 1e-3);
      Doubles d_scale(scale.size()), d_shift(scale.size()), dx(x.size());
      const double m = static_cast<double>(x.size() / scale.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        d_shift[i % scale.size()] += d[i];
        d_scale[i % scale.size()] += d[i] * forward.xhat[i];
      }
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t k = i % scale.size();
        dx[i] = scale[k] / std::sqrt(forward.variance[k] + 1e-3) *
                (d[i] - d_shift[k] / m - forward.xhat[i] * d_scale[k] / m);
      }
      for (const bool parameters : {true, false}) {
        Recipe open{"batch_normalization_backward",
                    {read("src", dims, axes, layout), read("diff_dst", dims, axes, layout), read("mean", {c}, "o"),
                     read("variance", {c}, "o"), read("scale", {c}, "o"), write("diff_src", dims, axes, layout)},
                    {{"epsilon", 1e-3}},
                    target.threads()};
        if (parameters)
          open.operands.insert(open.operands.end(), {write("diff_scale", {c}, "o"), write("diff_shift", {c}, "o")});
        Run run(target.close(open));
        run.set("src", x)
            .set("diff_dst", d)
            .set("mean", narrowed(forward.mean))
            .set("variance", narrowed(forward.variance))
            .set("scale", scale);
        check_close(run.run().get("diff_src"), dx, run.recipe(), 2e-5);
        if (!parameters) continue;
        check_close(run.get("diff_scale"), d_scale, run.recipe(), 1e-5);
        check_close(run.get("diff_shift"), d_shift, run.recipe());
      }
    }
  });
}

TEST_CASE("softmax and its gradient run over the last axis") {
  for_each_target([](const Target& target) {
    for (const Dims& dims : {Dims{1, 10}, Dims{9, 3}, Dims{2, 3, 4, 5}, Dims{3, 7, 2}}) {
      const std::string axes = activation_axes(dims.size() - 1);
      const std::size_t c = static_cast<std::size_t>(dims.back());
      Values x = numbers(element_count(dims));
      for (float& v : x) v *= 10;
      const Values d = numbers(element_count(dims), 1);
      Doubles y(x.size()), dx(x.size());
      for (std::size_t row = 0; row < x.size(); row += c) {
        double sum = 0, dot = 0;
        for (std::size_t i = row; i < row + c; ++i) sum += std::exp(x[i]);
        for (std::size_t i = row; i < row + c; ++i) y[i] = std::exp(x[i]) / sum;
        for (std::size_t i = row; i < row + c; ++i) dot += y[i] * d[i];
        for (std::size_t i = row; i < row + c; ++i) dx[i] = y[i] * (d[i] - dot);
      }
      Run forward(
          target.close({"softmax_forward", {read("src", dims, axes), write("dst", dims, axes)}, {}, target.threads()}));
      check_close(forward.set("src", x).run().get("dst"), y, forward.recipe());
      Run backward(target.close({"softmax_backward",
                                 {read("dst", dims, axes), read("diff_dst", dims, axes), write("diff_src", dims, axes)},
                                 {},
                                 target.threads()}));
      check_close(backward.set("dst", narrowed(y)).set("diff_dst", d).run().get("diff_src"), dx, backward.recipe(),
                  1e-5);
    }
  });
}

TEST_CASE("elementwise functions run in every layout, also over their own input") {
  for_each_target([](const Target& target) {
    for (const Dims& dims : {Dims{3, 5, 5, 16}, Dims{2, 3, 3, 5}, Dims{9, 10}, Dims{7}})
      for (const std::string algorithm : {"relu", "tanh", "logistic"})
        for (const bool in_place : {false, true}) {
          const std::string axes = activation_axes(dims.size() - 1), layout = target.activation_layout(dims, axes);
          const Values x = numbers(element_count(dims));
          Doubles y(x.size());
          std::transform(x.begin(), x.end(), y.begin(), [&](double v) {
            return algorithm == "relu" ? std::max(v, 0.0) : algorithm == "tanh" ? std::tanh(v) : 1 / (1 + std::exp(-v));
          });
          Run run(target.close({"eltwise_forward",
                                {read("src", dims, axes, layout), write("dst", dims, axes, layout)},
                                {{"algorithm", algorithm}},
                                target.threads()}));
          if (in_place) run.overlay("dst", "src");
          check_close(run.set("src", x).run().get("dst"), y, run.recipe());
        }
  });
}

TEST_CASE("what a recipe may compute in place gives the same bits there") {
  const Dims dims{3, 4, 4, 16};
  const std::string axes = "nhwc";
  const auto target = host_target(2);
  const auto vector = [&](const char* role) { return read(role, {16}, "o"); };
  const Recipe open[] = {
      {"eltwise_forward", {read("src", dims, axes), write("dst", dims, axes)}, {{"algorithm", "tanh"}}, 2},
      {"softmax_forward", {read("src", dims, axes), write("dst", dims, axes)}, {}, 2},
      {"softmax_backward",
       {read("dst", dims, axes), read("diff_dst", dims, axes), write("diff_src", dims, axes)},
       {},
       2},
      {"batch_normalization_inference",
       {read("src", dims, axes), vector("mean"), vector("variance"), vector("scale"), vector("shift"),
        write("dst", dims, axes)},
       {{"epsilon", 1e-3}},
       2},
      {"batch_normalization_backward",
       {read("src", dims, axes), read("diff_dst", dims, axes), vector("mean"), vector("variance"), vector("scale"),
        write("diff_src", dims, axes), write("diff_scale", {16}, "o"), write("diff_shift", {16}, "o")},
       {{"epsilon", 1e-3}},
       2}};
  for (const Recipe& recipe : open) {
    const auto result = [&](bool over) {
      Run run(target->close(recipe));
      for (int salt = 0; const RecipeOperand& operand : run.recipe().operands)
        if (operand.access == Access::read && operand.role != "variance")
          run.set(operand.role, numbers(element_count(operand.shape.dims), salt++));
        else if (operand.role == "variance")
          run.set(operand.role, Values(16, 0.5f));
      const InPlace pair = in_place_of(run.recipe()).front();
      if (over) run.overlay(std::string(pair.written), std::string(pair.read));
      return run.run().get(std::string(pair.written));
    };
    REQUIRE(!in_place_of(recipe).empty());
    CHECK_MESSAGE(result(false) == result(true), recipe.kernel);
  }
}

TEST_CASE("the same recipe gives the same bits in every run") {
  for (int threads : {1, 2}) {
    const auto target = host_target(threads);
    for (const Convolution& c : {convolutions[2], convolutions[4]}) {
      const Recipe recipe =
          target->close({"convolution_backward_weights",
                         {read("src", c.source(), "nhwc"), read("diff_dst", c.result(), "nhwc"),
                          write("diff_weights", c.kernel(), "hwio", "any"), write("diff_bias", {c.out}, "o")},
                         c.attributes(),
                         threads});
      const auto result = [&] {
        Run run(recipe);
        run.set("src", numbers(element_count(c.source()))).set("diff_dst", numbers(element_count(c.result()), 1)).run();
        return std::pair(run.get("diff_weights"), run.get("diff_bias"));
      };
      const auto first = result();
      for (int i = 0; i < 10; ++i) CHECK(result() == first);
    }
  }
}
