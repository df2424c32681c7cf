// Every example of every record: forward, gradient, compiled; once and with its result used twice. Nothing here knows
// an op by name.
#include <doctest/doctest.h>

#include "tests/op_case.hpp"

namespace weir {
namespace {

bool has_examples(const OpDef& op) {
  return op.role == Role::layer || op.role == Role::loss || op.role == Role::metric || op.role == Role::regularizer;
}

void for_each_case(const std::function<void(const OpCase&)>& visit) {
  for (const OpDef* op : ops_table()) {
    if (!has_examples(*op)) continue;
    for (const Example& example : op->examples)
      for (Use use : {Use::once, Use::twice}) {
        if (use == Use::twice && op->role != Role::layer) continue;
        INFO(std::string(op->name), " ", std::string(example.name),
             std::string(use == Use::twice ? " used twice" : ""));
        visit(OpCase(*op, example, use));
      }
  }
}

constexpr double difference_step = 1e-3;

/// Four points, so that the step can be large enough for rounding not to matter: error of order h⁴.
double central_difference(Interpreter& run, const std::string& name, const Array& values, std::int64_t element) {
  constexpr double h = difference_step;
  const auto total_at = [&](double offset) {
    Array moved = values;
    moved[element] += offset;
    run.set(name, std::move(moved));
    run.compute();
    return run.total();
  };
  return (8 * (total_at(h) - total_at(-h)) - (total_at(2 * h) - total_at(-2 * h))) / (12 * h);
}

double largest(const Array& array) {
  double most = 0;
  for (double value : array.data) most = std::max(most, std::abs(value));
  return most;
}

/// Compares f32 bytes with the oracle, relative to the largest entry.
void check_close(const Tensor& found, const Array& expected, double tolerance, const std::string& what) {
  REQUIRE(found.dims == expected.dims);
  const double scale = std::max(largest(expected), 1e-3);
  double worst = 0;
  for (std::int64_t i = 0; i < expected.count(); ++i) {
    const double difference = std::abs(static_cast<double>(found.data<float>()[i]) - expected[i]);
    if (!(difference <= worst)) worst = difference;
  }
  INFO(what, ": difference ", worst, " at scale ", scale);
  CHECK(worst <= tolerance * scale);
}

void check_compiled(const OpCase& model, const Target& target) {
  Interpreter oracle = model.interpreter();
  oracle.compute();
  Session session = model.session(target);
  const std::map<std::string, Tensor> inputs = model.inputs();
  Feed feed;
  for (const auto& [name, tensor] : inputs) feed.emplace(name, tensor);
  const Tensor unread(DType::f32, {model.batch()});
  if (feed.empty()) return;  // every value is a parameter: a batch axis is missing
  const StepResult result = session.gradient_step(feed);
  for (const TermValue& term : result.terms)
    CHECK(term.value == doctest::Approx(oracle.value("loss.error")[0]).epsilon(1e-4));
  if (!model.result().empty() &&
      oracle.training().graph.at(oracle.training().graph.find(model.result())).type.dtype == DType::f32)
    check_close(session.output(model.result()), oracle.value(model.result()), 2e-5, "forward");
  for (const auto& [parameter, gradient] : model.training().gradients) {
    const std::string& name = model.training().graph.at(parameter).name;
    check_close(session.gradient(name), oracle.value(gradient), model.tolerance(), "gradient of " + name);
  }
}

}  // namespace

TEST_CASE("every differentiable op has examples, and each gives a gradient that is not all zeros") {
  for (const OpDef* op : ops_table())
    if (has_examples(*op)) {
      INFO(std::string(op->name));
      CHECK_FALSE(op->examples.empty());
      CHECK((op->gradient != nullptr || op->no_gradient));
    }
  std::map<std::string, double> most;
  for_each_case([&](const OpCase& model) {
    if (!model.differentiable()) return;
    Interpreter run = model.interpreter();
    run.compute();
    for (const auto& [parameter, gradient] : model.training().gradients) {
      double& seen = most[model.training().graph.name];
      seen = std::max(seen, largest(run.value(gradient)));
    }
  });
  for (const auto& [op, gradient] : most) {
    const std::string label = op;
    INFO(label);
    CHECK(gradient > 1e-6);
  }
  CHECK(most.size() > 15);
}

TEST_CASE("gradients of every example agree with central differences of the double-precision reference") {
  int compared = 0;
  for_each_case([&](const OpCase& model) {
    if (!model.differentiable()) return;
    Interpreter run = model.interpreter(), loss = model.forward_interpreter();
    run.compute();
    for (const auto& [parameter, gradient] : model.training().gradients) {
      const std::string& name = model.training().graph.at(parameter).name;
      const Array& analytic = run.value(gradient);
      const std::int64_t stride = std::max<std::int64_t>(1, analytic.count() / 24);
      for (std::int64_t i = 0; i < analytic.count(); i += stride) {
        INFO(name, "[", i, "]");
        const double rounding = 1e-15 * std::abs(run.total()) / difference_step;
        CHECK(std::abs(analytic[i] - central_difference(loss, name, model.values().at(name), i)) <=
              1e-6 * std::max(1e-2, largest(analytic)) + rounding);
        ++compared;
      }
      loss.set(name, model.values().at(name));
    }
  });
  CHECK(compared > 1000);
}

TEST_CASE("every example compiled for this machine agrees with the reference") {
  const std::unique_ptr<Target> target = host_target(2);
  for_each_case([&](const OpCase& model) { check_compiled(model, *target); });
}

TEST_CASE("every example compiled for the fixed target agrees with the reference") {
  const std::unique_ptr<Target> target = fixed_target(1);
  for_each_case([&](const OpCase& model) { check_compiled(model, *target); });
}

}  // namespace weir
