// The profiles pytorch and keras-probabilities against short runs recorded from the real frameworks
// (tests/reference/profiles.json), through the whole road in f32; their defaults; what explain says of them.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "compiler/profile_differences.hpp"
#include "tests/models.hpp"
#include "tests/recorded_case.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;

Tensor as_f32(const Json& recorded) {
  const Array array = recorded_array(recorded);
  Tensor tensor(DType::f32, array.dims);
  for (std::int64_t i = 0; i < array.count(); ++i) tensor.data<float>()[i] = static_cast<float>(array[i]);
  return tensor;
}

double deviation(const Tensor& values, const Json& recorded) {
  Array found(values.dims);
  for (std::int64_t i = 0; i < found.count(); ++i) found[i] = values.data<float>()[i];
  const Array expected = recorded_array(recorded);
  return found.dims == expected.dims ? deviation(found, expected) : 1e9;
}

std::map<std::string, Tensor> tensors_of(const Json& recorded) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : recorded.items()) tensors.emplace(name, as_f32(tensor));
  return tensors;
}

Feed feed_of(const std::map<std::string, Tensor>& tensors) { return {tensors.begin(), tensors.end()}; }

Spec parsed(const std::string& text) {
  Diagnostics diagnostics("model.json", text);
  Spec spec = parse_spec(text, "model", diagnostics);
  REQUIRE_MESSAGE(!diagnostics.has_errors(), diagnostics.to_text());
  return spec;
}

std::string dense_in(const std::string& numerics, const std::string& more = "") {
  return R"({"format": "weir/1", "numerics": ")" + numerics +
         R"(", "inputs": {"x": {"shape": [100]}, "y": {"shape": [50]}},
    "layers": [{"name": "output", "type": "dense", "from": "x", "units": 50, "activation": "softmax")" +
         more + R"(}],
    "loss": {"terms": {"error": {"type": "categorical_crossentropy", "at": "output", "target": {"input": "y"}}}},
    "train": {"optimizer": {"type": "adam"}}})";
}

}  // namespace

TEST_CASE("short runs in each profile are those of the real frameworks") {
  const Json cases = recorded_cases("profiles");
  for (const Json& recorded : cases) {
    INFO(recorded.at("spec").at("name").get<std::string>());
    Session session(compiled(recorded.at("spec").dump()));
    session.load_weights(tensors_of(recorded.at("weights")));
    for (std::size_t step = 0; step < recorded.at("batches").size(); ++step) {
      const std::map<std::string, Tensor> batch = tensors_of(recorded.at("batches").at(step));
      const double expected = recorded.at("losses").at(step).get<double>();
      CHECK(std::abs(session.train_step(feed_of(batch)).total - expected) <= 1e-5 * std::max(1.0, std::abs(expected)));
      if (step > 0) continue;
      for (const auto& [name, gradient] : recorded.at("gradients").items()) {
        const std::string label = name;
        INFO(label);
        CHECK(deviation(session.gradient(name), gradient) <= 1e-5);
      }
    }
    for (const auto& [name, after] : recorded.at("after").items()) {
      const std::string label = name;
      INFO(label);
      CHECK(deviation(session.parameter(name), after) <= 1e-4);
    }
  }
  CHECK(cases.size() == 16);
}

TEST_CASE("in profile pytorch kernel and bias start within one over the root of the inputs") {
  const Session session(compiled(dense_in("pytorch")));
  for (const char* name : {"output.kernel", "output.bias"}) {
    const Tensor values = session.parameter(name);
    float least = 0, most = 0;
    for (std::int64_t i = 0; i < values.count(); ++i) {
      least = std::min(least, values.data<float>()[i]);
      most = std::max(most, values.data<float>()[i]);
    }
    CHECK(most <= 0.1f);
    CHECK(least >= -0.1f);
    CHECK(most > 0.08f);
    CHECK(least < -0.08f);
  }
}

TEST_CASE("a key of the file keeps its meaning in every profile") {
  const Session session(compiled(dense_in("pytorch", R"(, "bias_initializer": "zeros")")));
  const Tensor bias = session.parameter("output.bias");
  for (std::int64_t i = 0; i < bias.count(); ++i) CHECK(bias.data<float>()[i] == 0);
}

TEST_CASE("what other profiles would do differently is derived from the records") {
  const auto differences = profile_differences(parsed(dense_in("keras")));
  std::set<std::string> said;
  for (const ProfileDifference& one : differences) said.insert(one.profile + " " + one.where.front() + " " + one.what);
  CHECK(said == std::set<std::string>{"keras-probabilities error computed", "pytorch optimizer epsilon",
                                      "pytorch optimizer formula", "pytorch output bias_initializer",
                                      "pytorch output kernel_initializer"});
  const std::string text = to_text(profile_differences(parsed(dense_in("pytorch"))));
  CHECK(text.find("keras: optimizer: epsilon 1e-07 (here 1e-08)") != std::string::npos);
  CHECK(text.find("keras: output: kernel_initializer glorot_uniform (here uniform within 1/√") != std::string::npos);
}

TEST_CASE("what the file says itself differs in no profile") {
  const std::string text = dense_in("keras", R"(, "kernel_initializer": "he_normal", "bias_initializer": "zeros")");
  for (const ProfileDifference& one : profile_differences(parsed(text))) CHECK(one.where.front() != "output");
}

TEST_CASE("in profile pytorch a target of 0 gets no gradient from its divergence, and floored logarithms stay finite") {
  const std::string text = R"({"format": "weir/1", "numerics": "pytorch", "inputs": {"x": {"shape": [2]}},
    "layers": [{"name": "a", "type": "dense", "from": "x", "units": 2, "activation": "softmax"},
               {"name": "b", "type": "dense", "from": "x", "units": 2, "activation": "relu"}],
    "loss": {"terms": {"error": {"type": "kl_divergence", "at": "a", "target": {"node": "b", "gradient": true}}}},
    "train": {"optimizer": {"type": "sgd"}, "batch_size": 1}})";
  const Tensor x = made_up({1, 2}, 1);
  Session session(compiled(text), {.seed = 1});
  for (const char* name : {"a.kernel", "b.kernel"}) session.set_parameter(name, Tensor(DType::f32, {2, 2}));
  Tensor bias(DType::f32, {2});
  bias.data<float>()[1] = 0.5f;  // b is [0, 0.5], a [0.5, 0.5]
  session.set_parameter("a.bias", Tensor(DType::f32, {2}));
  session.set_parameter("b.bias", bias);
  CHECK(session.gradient_step({{"x", x}}).total == 0);
  CHECK(session.gradient("b.bias").data<float>()[0] == 0);
  CHECK(session.gradient("b.bias").data<float>()[1] == doctest::Approx(0.5));  // (log 0.5 - log 0.5 + 1) / 2 classes
  const std::string floored = with(with(with(text, "kl_divergence", "binary_crossentropy"), "softmax", "relu"),
                                   R"("at": "a")", R"("at": "a", "from_logits": false)");
  Session certain(compiled(floored), {.seed = 1});
  for (const char* name : {"a.kernel", "b.kernel"}) certain.set_parameter(name, Tensor(DType::f32, {2, 2}));
  certain.set_parameter("a.bias", Tensor(DType::f32, {2}));
  certain.set_parameter("b.bias", bias);  // a is [0, 0]
  certain.gradient_step({{"x", x}});
  CHECK(certain.gradient("b.bias").data<float>()[1] == doctest::Approx(100.0 / 2));
}

TEST_CASE("in profile pytorch a mean with class weights divides by the weights that it meets") {
  const std::string text =
      R"({"format": "weir/1", "numerics": "keras", "inputs": {"x": {"shape": [3]}, "y": {"shape": [], "dtype": "i32"}},
    "layers": [{"name": "a", "type": "dense", "from": "x", "units": 2, "activation": "softmax"}],
    "loss": {"terms": {"error": {"type": "sparse_categorical_crossentropy", "at": "a", "target": {"input": "y"},
                                 "class_weight": [0.25, 0.5]}}},
    "train": {"optimizer": {"type": "sgd"}, "batch_size": 4}})";
  const Tensor x = made_up({4, 3}, 1);
  Tensor y(DType::i32, {4});
  y.data<std::int32_t>()[1] = 1;
  Session keras(compiled(text)), pytorch(compiled(with(text, "\"keras\"", "\"pytorch\"")));
  for (const char* name : {"a.kernel", "a.bias"}) pytorch.set_parameter(name, keras.parameter(name));
  const double by_entries = keras.train_step({{"x", x}, {"y", y}}).total;
  const double by_weights = pytorch.train_step({{"x", x}, {"y", y}}).total;
  CHECK(by_weights == doctest::Approx(by_entries * 4 / (3 * 0.25 + 0.5)));
  CHECK(to_text(profile_differences(parsed(text))).find("error: a mean divides by the sum of the class weights") !=
        std::string::npos);
}

}  // namespace weir
