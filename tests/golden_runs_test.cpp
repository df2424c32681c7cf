// Two training runs recorded with real Keras, reproduced from their initial weights: in double by the interpreter, in
// f32 by the compiled plan.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "compiler/interpret/interpret.hpp"
#include "compiler/passes/passes.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

constexpr std::int64_t batch = 32;

struct Recorded {
  std::string spec;
  std::map<std::string, Tensor> initial, gradients, expected;
  std::vector<nlohmann::json> steps;
  Tensor image, label;
};

Tensor read_npy_tensor(const std::string& path, DType dtype) {
  const std::string bytes = read_file(path);
  const std::size_t header = 10 + static_cast<std::size_t>(static_cast<unsigned char>(bytes[8])) +
                             256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes[9]));
  const std::int64_t count = 320;
  Tensor tensor(dtype, dtype == DType::f32 ? Dims{count, 28, 28, 1} : Dims{count});
  REQUIRE(bytes.size() - header == tensor.bytes.size());
  std::memcpy(tensor.bytes.data(), bytes.data() + header, tensor.bytes.size());
  return tensor;
}

Recorded recorded(const std::string& name) {
  const std::string folder = "tests/golden_runs/" + name + "/";
  Recorded run{read_file(folder + "model.weir.json"),
               read_tensors("tests/golden_runs/seed/init.safetensors"),
               read_tensors(folder + "grads.safetensors"),
               read_tensors(folder + "expected.safetensors"),
               {},
               read_npy_tensor("tests/golden_runs/seed/image.npy", DType::f32),
               read_npy_tensor("tests/golden_runs/seed/label.npy", DType::i32)};
  std::istringstream lines(read_file(folder + "expected.jsonl"));
  for (std::string line; std::getline(lines, line);) run.steps.push_back(nlohmann::json::parse(line));
  REQUIRE(run.steps.size() == 10);
  return run;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dims == b.dims);
  double most = 0;
  for (std::int64_t i = 0; i < a.count(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a.data<float>()[i]) - static_cast<double>(b.data<float>()[i])));
  return most;
}

double largest(const Tensor& a) { return largest_difference(a, Tensor(a.dtype, a.dims)); }

Feed batch_of(const Recorded& run, std::int64_t step) {
  return {{"image", rows(run.image, step * batch, batch)}, {"label", rows(run.label, step * batch, batch)}};
}

void reproduce(const std::string& name, int threads, const std::string& weights) {
  const Recorded run = recorded(name);
  Session session(compiled(run.spec, {.threads = threads}), {.poison = true});
  session.load_weights(run.initial);
  session.gradient_step(batch_of(run, 0));
  for (const auto& [parameter, gradient] : run.gradients) {
    const std::string label = parameter;
    INFO(label);
    CHECK(largest_difference(session.gradient(parameter), gradient) <= 1e-3 * largest(gradient));
  }
  for (const Parameter& parameter : session.plan().parameters)
    CHECK(parameter.trained == run.gradients.contains(parameter.name));
  for (std::int64_t step = 0; step < 10; ++step) {
    const StepResult result = session.train_step(batch_of(run, step));
    const nlohmann::json& loss = run.steps[static_cast<std::size_t>(step)].at("loss");
    CHECK(result.total == doctest::Approx(loss.at("total").get<double>()).epsilon(1e-4));
    CHECK(result.terms.size() == loss.size() - 1);
    for (const TermValue& term : result.terms)
      CHECK(term.value == doctest::Approx(loss.at(std::string(term.name)).get<double>()).epsilon(1e-4));
  }
  for (const auto& [parameter, expected] : run.expected) {
    const std::string label = parameter;
    INFO(label, " ", weights);
    CHECK(largest_difference(session.parameter(parameter), expected) <= 2e-4);
  }
}

Array as_array(const TensorView& view) {
  Array array(view.dims);
  for (std::int64_t i = 0; i < array.count(); ++i)
    array[i] = view.dtype == DType::i32 ? static_cast<const std::int32_t*>(view.data)[i]
                                        : static_cast<double>(static_cast<const float*>(view.data)[i]);
  return array;
}

TrainingGraph training_graph(const std::string& text) {
  Diagnostics diagnostics;
  const Spec spec = parse_spec(text, "seed", diagnostics);
  TrainingGraph training = attach_losses(spec, build_graph(spec, Mode::training, diagnostics), diagnostics);
  training = prune(add_updates(spec, differentiate(std::move(training))));
  REQUIRE_FALSE(diagnostics.has_errors());
  return training;
}

}  // namespace

TEST_CASE("the recorded Keras run with both losses is reproduced on one thread") { reproduce("seed", 1, "seed"); }
TEST_CASE("the recorded Keras run with both losses is reproduced on two threads") { reproduce("seed", 2, "seed"); }
TEST_CASE("the recorded Keras run without the final loss is reproduced") {
  reproduce("seed_without_final", 2, "seed_without_final");
}

TEST_CASE("with the final loss excluded the tail stays bit-equal, with no gradient, state or forward step") {
  const Recorded run = recorded("seed_without_final");
  const auto plan = compiled(run.spec);
  const Program& train = *plan->find(ProgramKind::train, batch);
  for (const auto* steps : {&train.refresh, &train.compute, &train.commit})
    for (const Step& step : *steps) {
      CHECK(step.node.find("dense_1") == std::string::npos);
      CHECK(step.node.find("output") == std::string::npos);
    }
  CHECK(train.inputs.size() == 1);  // the label file is not needed
  Session session(plan);
  session.load_weights(run.initial);
  for (std::int64_t step = 0; step < 10; ++step) session.train_step({{"image", rows(run.image, step * batch, batch)}});
  for (const char* name : {"dense_1.kernel", "dense_1.bias", "output.kernel", "output.bias"}) {
    CHECK(session.parameter(name).bytes == run.initial.at(name).bytes);
    CHECK_THROWS_WITH_AS(session.gradient(name), doctest::Contains("no trained term reaches"), Error);
    for (const Parameter& parameter : plan->parameters)
      if (parameter.name == name) CHECK(parameter.state.empty());
  }
}

TEST_CASE("the double-precision interpreter reproduces the first recorded step") {
  const Recorded run = recorded("seed");
  Interpreter oracle(training_graph(run.spec), batch);
  for (const auto& [name, tensor] : run.initial) oracle.set(name, as_array(tensor));
  oracle.set("image", as_array(rows(run.image, 0, batch)));
  oracle.set("label", as_array(rows(run.label, 0, batch)));
  oracle.set_scalar("learning_rate", 0.001);
  oracle.compute();
  CHECK(oracle.total() == doctest::Approx(run.steps[0].at("loss").at("total").get<double>()).epsilon(1e-6));
  for (const auto& [parameter, gradient] : run.gradients) {
    const Array& found = oracle.gradient(parameter);
    double worst = 0;
    for (std::int64_t i = 0; i < found.count(); ++i)
      worst = std::max(worst, std::abs(found[i] - static_cast<double>(gradient.data<float>()[i])));
    const std::string label = parameter;
    INFO(label);
    CHECK(worst <= 1e-5 * largest(gradient));
  }
}

}  // namespace weir
