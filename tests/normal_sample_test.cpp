// The layer normal_sample: what it draws, when, and what a penalty on its divergence from the standard normal is.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/models.hpp"

namespace weir {
namespace {

constexpr const char* model = R"({"format": "weir/1", "inputs": {"x": {"shape": [500]}},
  "layers": [{"name": "mean", "type": "rescaling", "scale": 2, "from": "x"},
             {"name": "log_variance", "type": "rescaling", "scale": 1, "from": "x"},
             {"name": "code", "type": "normal_sample", "from": {"mean": "mean", "log_variance": "log_variance"}},
             {"name": "output", "type": "dense", "units": 1}],
  "loss": {"terms": {"final": {"type": "mean_squared_error", "at": "output", "target": {"constant": 0}}}},
  "train": {"optimizer": {"type": "sgd"}, "batch_size": 8, "epochs": 1}})";

/// Draws of a standard normal made visible: (code - mean) / deviation.
std::vector<double> draws(Session& session, double x) {
  Tensor input(DType::f32, {8, 500});
  for (std::int64_t i = 0; i < input.count(); ++i) input.data<float>()[i] = static_cast<float>(x);
  session.train_step({{"x", input}});
  const Tensor code = session.output("code");
  std::vector<double> values;
  for (std::int64_t i = 0; i < code.count(); ++i)
    values.push_back((static_cast<double>(code.data<float>()[i]) - 2 * x) / std::exp(x / 2));
  return values;
}

Session opened(const std::string& text, std::uint64_t seed) {
  return Session(compiled(text, {.batch_sizes = {8}, .taps = {"code"}}), {.seed = seed});
}

double mean_of_power(const std::vector<double>& values, int power) {
  double sum = 0;
  for (double value : values) sum += std::pow(value, power);
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("draws have the moments of the normal distribution around the mean with the deviation") {
  Session session = opened(model, 3);
  for (double x : {0.0, 1.5, -2.0}) {
    CAPTURE(x);
    const std::vector<double> values = draws(session, x);  // 4000 of them: bounds of five standard errors
    CHECK(std::abs(mean_of_power(values, 1)) < 5 * std::sqrt(1.0 / 4000));
    CHECK(std::abs(mean_of_power(values, 2) - 1) < 5 * std::sqrt(2.0 / 4000));
    CHECK(std::abs(mean_of_power(values, 3)) < 5 * std::sqrt(15.0 / 4000));
    CHECK(std::abs(mean_of_power(values, 4) - 3) < 5 * std::sqrt(96.0 / 4000));
  }
}

TEST_CASE("draws change with the step, the seed and the layer's name, and with nothing else") {
  Session one = opened(model, 3), same = opened(model, 3), other = opened(model, 4);
  const std::vector<double> first = draws(one, 0);
  CHECK(first == draws(same, 0));
  CHECK(first != draws(other, 0));
  const std::vector<double> second = draws(one, 0);
  CHECK(first != second);
  CHECK(second == draws(same, 0));
  const std::string renamed = with(model, R"("name": "code")", R"("name": "sample")");
  Session named(compiled(renamed, {.batch_sizes = {8}, .taps = {"sample"}}), {.seed = 3});
  Tensor input(DType::f32, {8, 500});
  named.train_step({{"x", input}});
  const Tensor sample = named.output("sample");
  CHECK(static_cast<double>(sample.data<float>()[0]) != first[0]);
}

TEST_CASE("in evaluation the sample is the mean, bit for bit") {
  std::string text = with(model, R"("layers")", R"("outputs": ["copy", "mean"], "layers")");
  text =
      with(text, R"("units": 1})", R"("units": 1}, {"name": "copy", "type": "rescaling", "scale": 1, "from": "code"})");
  Session session(compiled(text, {.batch_sizes = {8}}));
  const Tensor x = made_up({8, 500}, 5);
  const std::map<std::string, Tensor> predicted = session.predict({{"x", x}});
  CHECK(predicted.at("copy").bytes == predicted.at("mean").bytes);
}

TEST_CASE("the divergence from the standard normal, built of layers, is the closed form") {
  const std::string text = R"({"format": "weir/1", "inputs": {"m": {"shape": [4]}, "l": {"shape": [4]}},
    "layers": [{"name": "mean", "type": "dense", "units": 3, "from": "m"},
               {"name": "log_variance", "type": "dense", "units": 3, "from": "l"},
               {"name": "variance", "type": "exponential", "from": "log_variance"},
               {"name": "squared_mean", "type": "multiply", "from": ["mean", "mean"]},
               {"name": "rest", "type": "rescaling", "from": "log_variance", "scale": -1, "offset": -1},
               {"name": "divergence", "type": "add", "from": ["variance", "squared_mean", "rest"]}],
    "loss": {"terms": {"kl": {"type": "value", "at": "divergence", "weight": 0.5, "reduction": "batch_mean"}}},
    "train": {"optimizer": {"type": "sgd"}, "batch_size": 5, "epochs": 1}})";
  Session session(compiled(text, {.batch_sizes = {5}, .taps = {"mean", "log_variance"}}));
  const Tensor m = made_up({5, 4}, 1), l = made_up({5, 4}, 2);
  const double total = session.gradient_step({{"m", m}, {"l", l}}).total;
  const Tensor mean = session.output("mean"), log_variance = session.output("log_variance");
  double expected = 0;
  for (std::int64_t i = 0; i < mean.count(); ++i) {
    const double mu = mean.data<float>()[i], lv = log_variance.data<float>()[i];
    expected -= 0.5 * (1 + lv - mu * mu - std::exp(lv)) / 5;
  }
  CHECK(total == doctest::Approx(expected).epsilon(1e-5));
}

TEST_CASE("a mean and a log_variance of different shapes are refused") {
  const std::string text = with(model, R"("log_variance", "type": "rescaling", "scale": 1)",
                                R"("log_variance", "type": "dense", "units": 2)");
  const Compiled refused = compile(text, {.threads = 1});
  CHECK_FALSE(refused.plan);
  CHECK(refused.diagnostics.to_text().find("the log_variance is f32[B, 2]") != std::string::npos);
}

}  // namespace weir
