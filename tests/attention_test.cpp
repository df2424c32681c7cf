// The layer multi_head_attention and its kernels: what a time can see, one sequence in several roles, the form of the
// file.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "compiler/verify.hpp"
#include "runtime/error.hpp"
#include "runtime/recipe_cost.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"
#include "tests/run_recipe.hpp"

namespace weir {
namespace {

using test::difference;
using test::numbers;
using test::read;
using test::Run;
using test::Values;
using test::write;

struct Sizes {
  std::int64_t batch, times, sources, heads, key, value;
};

Recipe forward(const Sizes& n, bool causal, int threads = 1) {
  return {"attention",
          {read("query", {n.batch, n.times, n.heads, n.key}, "nhwc"),
           read("key", {n.batch, n.sources, n.heads, n.key}, "nhwc"),
           read("value", {n.batch, n.sources, n.heads, n.value}, "nhwc"),
           write("probabilities", {n.batch, n.heads, n.times, n.sources}, "nhwc"),
           write("dst", {n.batch, n.times, n.heads, n.value}, "nhwc")},
          {{"causal", causal}},
          threads};
}

Recipe backward(const Sizes& n, int threads = 1) {
  const Dims query{n.batch, n.times, n.heads, n.key}, key{n.batch, n.sources, n.heads, n.key},
      value{n.batch, n.sources, n.heads, n.value};
  return {"attention_gradient",
          {read("query", query, "nhwc"), read("key", key, "nhwc"), read("value", value, "nhwc"),
           read("probabilities", {n.batch, n.heads, n.times, n.sources}, "nhwc"),
           read("d_dst", {n.batch, n.times, n.heads, n.value}, "nhwc"), write("d_query", query, "nhwc"),
           write("d_key", key, "nhwc"), write("d_value", value, "nhwc")},
          {{"causal", false}},
          threads};
}

Run& filled(Run& run) {
  int salt = 0;
  for (const RecipeOperand& operand : run.recipe().operands)
    if (operand.access == Access::read) run.set(operand.role, numbers(element_count(operand.shape.dims), ++salt));
  return run;
}

constexpr Sizes sizes[] = {
    {1, 1, 1, 1, 1, 1}, {2, 3, 5, 2, 4, 3}, {1, 7, 33, 3, 17, 16}, {1, 9, 12, 2, 21, 13}, {3, 64, 64, 4, 32, 32}};

/// Entry by entry, in double.
struct Naive {
  struct Gradients {
    std::vector<double> query, key, value;
  };

  Naive(const Sizes& size, Values q, Values k, Values v, bool causal)
      : n(size), query(std::move(q)), key(std::move(k)), value(std::move(v)) {
    probabilities.resize(static_cast<std::size_t>(n.batch * n.heads * n.times * n.sources));
    dst.resize(static_cast<std::size_t>(n.batch * n.times * n.heads * n.value));
    each_time([&](std::int64_t b, std::int64_t h, std::int64_t t) {
      const std::int64_t seen = causal ? std::min(t + 1, n.sources) : n.sources;
      double sum = 0;
      for (std::int64_t s = 0; s < seen; ++s) {
        double score = 0;
        for (std::int64_t i = 0; i < n.key; ++i)
          score += double{query[at(b, t, h, i, n.times, n.key)]} * key[at(b, s, h, i, n.sources, n.key)];
        sum += probabilities[p(b, h, t, s)] = std::exp(score * scale());
      }
      for (std::int64_t s = 0; s < seen; ++s) {
        probabilities[p(b, h, t, s)] /= sum;
        for (std::int64_t i = 0; i < n.value; ++i)
          dst[at(b, t, h, i, n.times, n.value)] +=
              probabilities[p(b, h, t, s)] * value[at(b, s, h, i, n.sources, n.value)];
      }
    });
  }

  Gradients gradients(const Values& d_dst) const {
    Gradients d{std::vector<double>(query.size()), std::vector<double>(key.size()), std::vector<double>(value.size())};
    each_time([&](std::int64_t b, std::int64_t h, std::int64_t t) {
      std::vector<double> by_probability(static_cast<std::size_t>(n.sources));
      double mean = 0;
      for (std::int64_t s = 0; s < n.sources; ++s)
        for (std::int64_t i = 0; i < n.value; ++i) {
          const double slope = d_dst[at(b, t, h, i, n.times, n.value)];
          const std::size_t source = at(b, s, h, i, n.sources, n.value);
          d.value[source] += probabilities[p(b, h, t, s)] * slope;
          by_probability[static_cast<std::size_t>(s)] += slope * value[source];
          mean += probabilities[p(b, h, t, s)] * slope * value[source];
        }
      for (std::int64_t s = 0; s < n.sources; ++s) {
        const double by_score =
            scale() * probabilities[p(b, h, t, s)] * (by_probability[static_cast<std::size_t>(s)] - mean);
        for (std::int64_t i = 0; i < n.key; ++i) {
          const std::size_t q = at(b, t, h, i, n.times, n.key), k = at(b, s, h, i, n.sources, n.key);
          d.query[q] += by_score * key[k];
          d.key[k] += by_score * query[q];
        }
      }
    });
    return d;
  }

  Sizes n;
  Values query, key, value;
  std::vector<double> probabilities, dst;

 private:
  double scale() const { return 1 / std::sqrt(static_cast<double>(n.key)); }
  std::size_t at(std::int64_t b, std::int64_t row, std::int64_t h, std::int64_t i, std::int64_t rows,
                 std::int64_t size) const {
    return static_cast<std::size_t>(((b * rows + row) * n.heads + h) * size + i);
  }
  std::size_t p(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) const {
    return static_cast<std::size_t>(((b * n.heads + h) * n.times + t) * n.sources + s);
  }
  template <class Body>
  void each_time(const Body& body) const {
    for (std::int64_t b = 0; b < n.batch; ++b)
      for (std::int64_t h = 0; h < n.heads; ++h)
        for (std::int64_t t = 0; t < n.times; ++t) body(b, h, t);
  }
};

std::string refusal(const Recipe& recipe) {
  return message_of([&] { validate_recipe(recipe); });
}

constexpr const char* model = R"({"format": "weir/1",
  "inputs": {"x": {"shape": [6, 4]}, "y": {"shape": [5, 3]}},
  "layers": [
    {"name": "own", "type": "multi_head_attention", "from": {"query": "x", "value": "x"}, "num_heads": 2, "key_dim": 3,
     "use_causal_mask": true},
    {"name": "cross", "type": "multi_head_attention", "from": {"query": "own", "value": "y", "key": "y"},
     "num_heads": 3, "key_dim": 2, "value_dim": 4},
    {"name": "mean", "type": "global_average_pooling1d"},
    {"name": "output", "type": "dense", "units": 1}],
  "outputs": ["own", "output"],
  "loss": {"terms": {"final": {"type": "mean_squared_error", "at": "output", "target": {"constant": 1}}}},
  "train": {"optimizer": {"type": "adam"}, "batch_size": 2}})";

}  // namespace

TEST_CASE("probabilities of a row sum to 1, and a causal time gives none to later sources") {
  for (const Sizes& n : sizes)
    for (bool causal : {false, true}) {
      CAPTURE(n.sources);
      Run run(forward(n, causal));
      const Values p = filled(run).run().get("probabilities");
      for (std::int64_t row = 0; row < n.batch * n.heads * n.times; ++row) {
        double sum = 0;
        for (std::int64_t s = 0; s < n.sources; ++s) {
          const float probability = p[static_cast<std::size_t>(row * n.sources + s)];
          sum += static_cast<double>(probability);
          const bool seen = !causal || s <= row % n.times;
          CHECK((seen ? probability > 0 : probability == 0));
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-5));
      }
    }
}

TEST_CASE("attention and its gradient are what naive loops in double give") {
  for (const Sizes& n : sizes)
    for (bool causal : {false, true}) {
      CAPTURE(n.sources);
      Run run(forward(n, causal));
      filled(run).run();
      const Naive naive(n, run.get("query"), run.get("key"), run.get("value"), causal);
      CHECK(difference(run.get("probabilities"), naive.probabilities) < 2e-6);
      CHECK(difference(run.get("dst"), naive.dst) < 2e-6);
      if (causal) continue;  // the gradient of a probability of 0 is 0 by itself
      Run back(backward(n));
      filled(back).set("probabilities", run.get("probabilities"));
      const Values d_dst = back.get("d_dst");
      back.set("query", run.get("query")).set("key", run.get("key")).set("value", run.get("value")).run();
      const Naive::Gradients expected = naive.gradients(d_dst);
      CHECK(difference(back.get("d_query"), expected.query) < 4e-6);
      CHECK(difference(back.get("d_key"), expected.key) < 4e-6);
      CHECK(difference(back.get("d_value"), expected.value) < 4e-6);
    }
}

TEST_CASE("attention and its gradient have the same bits on any number of threads") {
  for (const Sizes& n : sizes) {
    Run one(forward(n, false, 1)), three(forward(n, false, 3));
    CHECK(filled(one).run().get("dst") == filled(three).run().get("dst"));
    Run alone(backward(n, 1)), shared(backward(n, 3));
    filled(alone).run();
    filled(shared).run();
    for (const char* role : {"d_query", "d_key", "d_value"}) CHECK(alone.get(role) == shared.get(role));
  }
}

TEST_CASE("very large and very small scores give finite probabilities") {
  const Sizes n{1, 2, 3, 1, 1, 1};
  Run run(forward(n, false));
  run.set("query", {1e18f, -1e18f}).set("key", {1e18f, 0, -1e18f}).set("value", {1, 2, 3});
  CHECK(run.run().get("dst") == Values{1, 3});
}

TEST_CASE("a recipe of attention whose extents do not fit each other is refused") {
  const Sizes n{2, 3, 5, 2, 4, 3};
  CHECK(refusal(forward(n, true)) == "(nothing was thrown)");
  CHECK(refusal(backward(n)) == "(nothing was thrown)");
  const auto spoilt = [&](Recipe recipe, std::size_t operand, std::size_t axis) {
    recipe.operands.at(operand).shape.dims.at(axis) += 1;
    return refusal(recipe);
  };
  CHECK(spoilt(forward(n, true), 0, 0).find("as many samples and heads") != std::string::npos);
  CHECK(spoilt(forward(n, true), 1, 1).find("operand \"key\" must be [2, 5, 2, 4]") != std::string::npos);
  CHECK(spoilt(forward(n, true), 3, 3).find("operand \"probabilities\" must be [2, 2, 3, 5]") != std::string::npos);
  CHECK(spoilt(forward(n, true), 4, 1).find("operand \"dst\" must be [2, 3, 2, 3]") != std::string::npos);
  CHECK(spoilt(backward(n), 4, 1).find("operand \"d_dst\" must be [2, 3, 2, 3]") != std::string::npos);
  CHECK(spoilt(backward(n), 6, 3).find("d_key") != std::string::npos);
  Recipe flat = forward(n, true);
  flat.operands[0] = read("query", {6, 8}, "nc");
  CHECK(refusal(flat).find("four axes") != std::string::npos);
  Recipe unsaid = forward(n, true);
  unsaid.attributes = {};
  CHECK(refusal(unsaid).find("causal") != std::string::npos);
}

TEST_CASE("attention costs two products a probability, its gradient four") {
  const Sizes n{2, 3, 5, 2, 4, 6};
  const double probabilities = 2 * 2 * 3 * 5;
  CHECK(cost_of(forward(n, false)).flops == probabilities * 2 * (4 + 6));
  CHECK(cost_of(backward(n)).flops == probabilities * 2 * 2 * (4 + 6));
}

TEST_CASE("one sequence as query and value, keys left out or named, gradients hold") {
  const Compiled checked = compile(model, {.threads = 1});
  CHECK_MESSAGE(checked.plan, checked.diagnostics.to_text());
  VerifyOptions options{.threads = 2, .batch = 2, .samples = 4};
  Diagnostics diagnostics("model", model);
  const VerifyReport report = verify_gradients(prepare_verify(model, options, diagnostics), options);
  CHECK(report.holds());
  CHECK(report.total.parameters.size() == 18);
}

TEST_CASE("what attention cannot take is refused with the reason") {
  const auto told = [](const std::string& from, const std::string& to) {
    return compile(with(model, from, to), {.threads = 1}).diagnostics.to_text();
  };
  const auto holds = [](const std::string& text, const char* part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text);
  };
  holds(told(R"("x": {"shape": [6, 4]})", R"("x": {"shape": [6]})"), "its query is f32[B, 6]");
  holds(told(R"("key": "y")", R"("key": "x")"), "key has 6 times and value 5");
  holds(told(R"("key": "y"})", R"("keys": "y"})"), "\"from\" has no role \"keys\"");
  holds(told(R"("from": {"query": "x", "value": "x"})", R"("from": "x")"),
        "the inputs of multi_head_attention have roles");
  holds(told(R"("value": "x"})", R"("key": "x"})"), "\"from\" needs \"value\"");
  holds(told(R"("key_dim": 3,)", R"("key_dim": 3, "dropout": 0.1,)"), "\"dropout\" is not supported yet");
  holds(told(R"("key_dim": 3,)", R"("key_dim": 0,)"), "key_dim");
  const std::string flat =
      with(model, R"({"name": "mean",)", R"({"name": "flat", "type": "flatten"}, {"name": "mean",)");
  holds(compile(flat, {.threads = 1}).diagnostics.to_text(),
        "global_average_pooling1d needs a sequence [steps, channels]");
}

TEST_CASE("a causal time does not hear of later ones") {
  Session session(compiled(model, {.batch_sizes = {2}}));
  Tensor x = made_up({2, 6, 4}, 1);
  const Tensor y = made_up({2, 5, 3}, 2);
  const Tensor before = session.predict({{"x", x}, {"y", y}}).at("own");
  for (std::int64_t i = 3 * 4; i < 6 * 4; ++i) x.data<float>()[i] += 1;  // times 3 … 5 of the first sample
  const Tensor after = session.predict({{"x", x}, {"y", y}}).at("own");
  CHECK(std::equal(before.data<float>(), before.data<float>() + 3 * 4, after.data<float>()));
  CHECK(!std::equal(before.data<float>() + 3 * 4, before.data<float>() + 6 * 4, after.data<float>() + 3 * 4));
}

TEST_CASE("kernel_initializer is that of all four kernels, drawn for each by its own name and fans") {
  const std::string text = with(model, R"("key_dim": 3,)", R"("key_dim": 3, "kernel_initializer": "ones",)");
  Session session(compiled(text));
  for (const char* name : {"own.query_kernel", "own.key_kernel", "own.value_kernel", "own.output_kernel"}) {
    const Tensor kernel = session.parameter(name);
    CHECK(std::all_of(kernel.data<float>(), kernel.data<float>() + kernel.count(), [](float v) { return v == 1; }));
  }
  CHECK(session.parameter("own.query_kernel").dims == Dims{4, 2, 3});
  CHECK(session.parameter("own.query_bias").dims == Dims{2, 3});
  CHECK(session.parameter("own.output_kernel").dims == Dims{2, 3, 4});
  CHECK(session.parameter("cross.value_kernel").dims == Dims{3, 3, 4});
  CHECK(session.parameter("cross.query_kernel").data<float>()[0] !=
        session.parameter("cross.query_kernel").data<float>()[1]);
}

}  // namespace weir
