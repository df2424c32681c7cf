// The contract of a session: a step happens completely or not at all.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const std::string model = R"({
  "format": "weir/1", "name": "model",
  "inputs": { "x": { "shape": [4] }, "label": { "shape": [], "dtype": "i32" } },
  "layers": [
    { "name": "hidden", "type": "dense", "units": 8, "activation": "relu" },
    { "name": "norm", "type": "batch_normalization" },
    { "name": "output", "type": "dense", "units": 3, "activation": "softmax" }
  ],
  "loss": { "terms": {
    "size": { "type": "mean_squared_error", "at": "hidden", "target": { "constant": 0 }, "weight": 0.5 },
    "final": { "type": "sparse_categorical_crossentropy", "at": "output", "target": { "input": "label" } } } },
  "train": { "batch_size": 6, "optimizer": { "type": "adam", "learning_rate": 0.01 },
             "metrics": { "accuracy":
               { "type": "sparse_categorical_accuracy", "at": "output", "target": { "input": "label" } } } }
})";

struct Model {
  explicit Model(CompileOptions options = {}) : session(compiled(model, options), {.seed = 1, .poison = true}) {}
  Feed feed(std::int64_t count) const { return {{"x", rows(x, 0, count)}, {"label", rows(label, 0, count)}}; }

  std::map<std::string, std::vector<std::byte>> bits() const {
    std::map<std::string, std::vector<std::byte>> all;
    for (const Parameter& parameter : session.plan().parameters)
      all[parameter.name] = session.parameter(parameter.name).bytes;
    return all;
  }

  Session session;
  Tensor x = made_up({6, 4}, 2), label = made_up_classes(6, 3);
};

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("nothing was thrown");
  return ErrorCode::internal;
}

}  // namespace

TEST_CASE("a diverging step names the tensor and changes nothing") {
  Model m;
  m.session.train_step(m.feed(6));
  const auto before = m.bits();
  Tensor kernel = m.session.parameter("output.kernel"), huge = kernel;
  huge.data<float>()[3] = std::numeric_limits<float>::infinity();
  m.session.set_parameter("output.kernel", huge);
  const std::string message = message_of([&] { m.session.train_step(m.feed(6)); });
  CHECK(message.find("is not finite") != std::string::npos);
  CHECK(message.find("gradient of ") != std::string::npos);
  m.session.set_parameter("output.kernel", kernel);
  CHECK(m.bits() == before);
  CHECK(m.session.steps() == 1);
  m.session.train_step(m.feed(6));
  CHECK(m.session.steps() == 2);
}

TEST_CASE("a step after a failed one has the bits of a step without it") {
  Model a, b;
  a.session.train_step(a.feed(6));
  b.session.train_step(b.feed(6));
  Tensor bad = b.x;
  bad.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  CHECK(message_of([&] {
          b.session.train_step({{"x", bad}, {"label", b.label}});
        }).find("input \"x\", row 1, is not finite") != std::string::npos);
  a.session.train_step(a.feed(6));
  b.session.train_step(b.feed(6));
  CHECK(a.bits() == b.bits());
}

TEST_CASE("wrong feeds are refused with the input's name") {
  Model m;
  const auto message = [&](Feed feed) { return message_of([&] { m.session.train_step(feed); }); };
  CHECK(message({}).find("no input") != std::string::npos);
  CHECK(message({{"x", m.x}}).find("\"label\" is missing") != std::string::npos);
  CHECK(message({{"x", m.x}, {"label", m.label}, {"other", m.x}}).find("no input \"other\"") != std::string::npos);
  CHECK(message({{"x", m.x}, {"label", rows(m.label, 0, 5)}}).find("rows") != std::string::npos);
  CHECK(message({{"x", made_up({6, 5}, 1)}, {"label", m.label}}).find("expected f32[6, 4]") != std::string::npos);
  CHECK(message({{"x", m.x}, {"label", made_up({6}, 1)}}).find("expected i32[6]") != std::string::npos);
  CHECK(message({{"x", rows(m.x, 0, 5)}, {"label", rows(m.label, 0, 5)}}).find("6 rows at a time") !=
        std::string::npos);
  Tensor label = m.label;
  label.data<std::int32_t>()[4] = 3;
  CHECK(message({{"x", m.x}, {"label", label}}).find("row 4: class 3 is outside 0 … 2") != std::string::npos);
  label.data<std::int32_t>()[4] = -1;
  CHECK(message({{"x", m.x}, {"label", label}}).find("class -1") != std::string::npos);
}

TEST_CASE("the last short batch has a program of its own and divides by its own size") {
  Model both({.batch_sizes = {6, 2}}), alone({.batch_sizes = {2}});
  CHECK(both.session.gradient_step(both.feed(2)).total ==
        doctest::Approx(alone.session.gradient_step(alone.feed(2)).total).epsilon(1e-6));
  for (int step = 0; step < 3; ++step) {
    both.session.train_step(both.feed(6));
    both.session.train_step(both.feed(2));
  }
  CHECK(both.session.steps() == 6);
}

TEST_CASE("evaluation of any number of rows does not see the padding") {
  Model m;
  for (int step = 0; step < 3; ++step) m.session.train_step(m.feed(6));
  double sum[2] = {0, 0};
  for (std::int64_t row = 0; row < 6; ++row) {
    const StepResult one = m.session.evaluate({{"x", rows(m.x, row, 1)}, {"label", rows(m.label, row, 1)}});
    sum[0] += one.terms[1].value;
    sum[1] += one.metrics[0].second;
  }
  const StepResult all = m.session.evaluate(m.feed(6));
  CHECK(all.terms[1].value == doctest::Approx(sum[0] / 6).epsilon(1e-6));
  CHECK(all.metrics[0].second == doctest::Approx(sum[1] / 6).epsilon(1e-9));
  CHECK(message_of([&] {
          m.session.evaluate({{"x", made_up({7, 4}, 1)}, {"label", made_up_classes(7, 3)}});
        }).find("1 to 6 rows") != std::string::npos);
}

TEST_CASE("prediction gives a row for each row, and nothing of one row depends on another") {
  Model m;
  const Tensor all = m.session.predict({{"x", m.x}}).at("output");
  CHECK(all.dims == Dims{6, 3});
  for (std::int64_t row = 0; row < 6; ++row) {
    const Tensor one = m.session.predict({{"x", rows(m.x, row, 1)}}).at("output");
    CHECK(one.dims == Dims{1, 3});
    for (int c = 0; c < 3; ++c)
      CHECK(one.data<float>()[c] == doctest::Approx(all.data<float>()[row * 3 + c]).epsilon(1e-6));
  }
}

TEST_CASE("more rows than the program takes are predicted in slices, and come back whole") {
  Model m;
  const Tensor x = made_up({15, 4}, 2);
  const Tensor all = m.session.predict({{"x", x}}).at("output");
  CHECK(all.dims == Dims{15, 3});
  CHECK(message_of([&] { m.session.output("output"); }).find("in slices of 6 rows") != std::string::npos);
  CHECK(code_of([&] { m.session.output("output"); }) == ErrorCode::failed_precondition);
  for (std::int64_t first = 0; first < 15; first += 6) {
    const std::int64_t count = std::min<std::int64_t>(6, 15 - first);
    const Tensor some = m.session.predict({{"x", rows(x, first, count)}}).at("output");
    const auto begin = all.bytes.begin() + first * 12;
    CHECK(some.bytes == std::vector<std::byte>(begin, begin + count * 12));
    CHECK(m.session.output("output").bytes == some.bytes);
  }
  CHECK(code_of([&] { m.session.predict({{"x", made_up({0, 4}, 1)}}); }) == ErrorCode::invalid_argument);
  CHECK(message_of([&] {
          m.session.predict({{"x", made_up({15, 5}, 1)}});
        }).find("expected f32[15, 4]") != std::string::npos);
}

TEST_CASE("a wrong row is named by its place among all, not in its slice") {
  Session session(compiled(R"({
    "format": "weir/1", "name": "words", "inputs": { "word": { "shape": [2], "dtype": "i32" } },
    "layers": [ { "name": "table", "type": "embedding", "from": "word", "input_dim": 5, "output_dim": 3 } ],
    "train": { "batch_size": 4, "optimizer": { "type": "sgd" } } })",
                           {.train = false}));
  Tensor words(DType::i32, {11, 2});
  words.data<std::int32_t>()[19] = 5;
  CHECK(message_of([&] {
          session.predict({{"word", words}});
        }).find("row 9: class 5 is outside 0 … 4") != std::string::npos);
}

TEST_CASE("evaluation and prediction between steps change no bit of the run") {
  Model a, b;
  for (int step = 0; step < 3; ++step) {
    a.session.train_step(a.feed(6));
    b.session.train_step(b.feed(6));
    b.session.evaluate(b.feed(3));
    b.session.predict({{"x", rows(b.x, 0, 2)}});
    b.session.gradient_step(b.feed(6));
  }
  CHECK(a.bits() == b.bits());
}

TEST_CASE("a live weight of 0 contributes exactly 0, and its parameters get zero gradients") {
  Model m;
  m.session.set_weight("final", 0);
  const StepResult result = m.session.gradient_step(m.feed(6));
  CHECK(result.terms[1].contribution == 0);
  CHECK(result.total == result.terms[0].contribution);
  const Tensor gradient = m.session.gradient("output.kernel");
  for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
  CHECK(code_of([&] { m.session.set_weight("final", -1); }) == ErrorCode::invalid_argument);
  CHECK(code_of([&] { m.session.set_weight("final", std::nan("")); }) == ErrorCode::invalid_argument);
  CHECK(code_of([&] { m.session.set_weight("nothing", 1); }) == ErrorCode::invalid_argument);
}

TEST_CASE("doubling a weight doubles its share of the gradient") {
  Model m;
  m.session.set_weight("size", 0);
  m.session.gradient_step(m.feed(6));
  const Tensor once = m.session.gradient("output.kernel");
  m.session.set_weight("final", 2);
  m.session.gradient_step(m.feed(6));
  const Tensor twice = m.session.gradient("output.kernel");
  for (std::int64_t i = 0; i < once.count(); ++i)
    CHECK(twice.data<float>()[i] == doctest::Approx(2 * once.data<float>()[i]).epsilon(1e-5));
}

TEST_CASE("an excluded or watched term has no weight to set") {
  Session session(compiled(with(model, "\"weight\": 0.5", "\"weight\": 0")));
  CHECK(message_of([&] { session.set_weight("size", 1); }).find("structural") != std::string::npos);
}

TEST_CASE("weights survive a round trip through safetensors, and misfits are all listed at once") {
  Model a, b;
  for (int step = 0; step < 2; ++step) a.session.train_step(a.feed(6));
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "weir_session_test.safetensors";
  a.session.save_weights(path);
  std::ifstream file(path, std::ios::binary);
  std::map<std::string, Tensor> weights = read_safetensors(file, "weights");
  CHECK(weights.size() == 8);
  b.session.load_weights(weights);
  CHECK(a.bits() == b.bits());
  std::filesystem::remove(path);
  weights.erase("hidden.bias");
  weights["output.kernel"] = Tensor(DType::f32, {3, 8});
  weights["stray"] = Tensor(DType::f32, {1});
  const auto before = b.bits();
  const std::string message = message_of([&] { b.session.load_weights(weights); });
  for (const char* part :
       {"hidden.bias is missing", "output.kernel is f32[3, 8], the model needs f32[8, 3]", "stray is no parameter"})
    CHECK(message.find(part) != std::string::npos);
  CHECK(b.bits() == before);
  weights.erase("stray");
  weights.erase("output.kernel");
  CHECK(b.session.load_weights(weights, true) == std::vector<std::string>{"hidden.bias", "output.kernel"});
}

TEST_CASE("the seed decides initial values, and a parameter's value does not depend on other layers") {
  const auto kernel = [](const std::string& text, std::uint64_t seed) {
    return Session(compiled(text), {.seed = seed}).parameter("output.kernel").bytes;
  };
  CHECK(kernel(model, 1) == kernel(model, 1));
  CHECK(kernel(model, 1) != kernel(model, 2));
  const std::string more = with(model, "{ \"name\": \"norm\"",
                                "{ \"name\": \"extra\", \"type\": \"dense\", \"units\": 8 }, { \"name\": \"norm\"");
  CHECK(kernel(model, 1) == kernel(more, 1));
}

}  // namespace weir
