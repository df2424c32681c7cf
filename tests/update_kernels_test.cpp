// Optimizers and moving statistics: references against Keras over several steps, kernels against references.
#include <doctest/doctest.h>

#include <cmath>

#include "runtime/error.hpp"
#include "tests/lowered_op.hpp"
#include "tests/message_of.hpp"
#include "tests/recorded_case.hpp"

using namespace weir;

namespace {

/// An optimizer with the parameter and state that it has brought about so far.
struct Updates {
  const OpDef* op;
  Attributes attributes;
  Array parameter;
  std::map<std::string, Array, std::less<>> state = {};
  double steps = 0;

  Updates(std::string_view name, Attributes given, Array start)
      : op(find_op(name)), attributes(with_defaults(*op, std::move(given))), parameter(std::move(start)) {
    for (std::string_view slot : op->slots)
      if (!op->uses_slots || op->uses_slots(attributes)) state.emplace(slot, Array(parameter.dims));
  }

  LoweredOp with(const Array& gradient, double step) const {
    const TensorType type = unbatched(parameter.dims);
    std::vector<std::optional<LoweredOperand>> operands;
    for (const OperandDef& operand : op->operands) switch (operand.kind) {
        case OperandKind::parameter:
          operands.push_back(LoweredOperand{type, parameter});
          break;
        case OperandKind::value:
          operands.push_back(LoweredOperand{type, gradient});
          break;
        case OperandKind::scalar:
          operands.push_back(scalar_operand(operand.name == "step" ? step : attributes.number("learning_rate")));
          break;
        default:
          operands.emplace_back();
          if (const auto found = state.find(operand.name); found != state.end())
            operands.back() = LoweredOperand{type, found->second};
      }
    return {*op, attributes, 1, std::move(operands)};
  }

  void take(const Computed& computed) {
    parameter = computed.at("parameter");
    for (auto& [slot, values] : state) values = computed.at(slot);
    ++steps;
  }
};

/// Keras' words for Adam's moments, and for SGD's velocity.
const char* recorded_name(std::string_view slot) { return slot == "v" ? "velocity" : "momentum"; }

double scattered(std::int64_t i) { return static_cast<double>((i * 37 + 11) % 61) / 16 - 1.84375; }

Array scattered_array(Dims dims, std::int64_t shift) {
  Array array(std::move(dims));
  for (std::int64_t i = 0; i < array.count(); ++i) array[i] = scattered(i + shift);
  return array;
}

std::vector<Updates> optimizers(const Array& start) {
  return {{"sgd", {}, start},
          {"sgd", {{"momentum", 0.9}, {"learning_rate", 0.1}}, start},
          {"sgd", {{"momentum", 0.9}, {"nesterov", true}}, start},
          {"adam", {}, start},
          {"adam", {{"beta_1", 0.0}, {"beta_2", 0.0}}, start}};
}

}  // namespace

TEST_CASE("optimizers move parameters and states as Keras does, step by step") {
  for (const char* name : {"sgd", "adam"})
    for (const auto& recorded : recorded_cases(name)) {
      CAPTURE(std::string(name));
      CAPTURE(recorded.at("name").get<std::string>());
      const double f64 = recorded.at("tolerance").at("f64"), f32 = recorded.at("tolerance").at("f32");
      Updates exact(name, recorded_attributes(recorded.at("attributes")),
                    recorded_array(recorded.at("operands").at("parameter")));
      Updates single = exact;
      for (const auto& step : recorded.at("steps")) {
        const Array gradient = recorded_array(step.at("gradient"));
        exact.take(exact.with(gradient, exact.steps + 1).by_reference());
        single.take(single.with(gradient, single.steps + 1).by_kernels());
        const Array parameter = recorded_array(step.at("results").at("parameter"));
        CHECK(deviation(exact.parameter, parameter) <= f64);
        CHECK(deviation(single.parameter, parameter) <= f32);
        for (const auto& [slot, values] : exact.state) {
          const Array expected = recorded_array(step.at("results").at(recorded_name(slot)));
          CHECK(deviation(values, expected) <= f64);
          CHECK(deviation(single.state.at(slot), expected) <= f32);
        }
      }
    }
}

TEST_CASE("update kernels agree with their references over many elements, with any number of threads") {
  const Dims dims{3, 7, 1231};  // several blocks and a tail
  for (Updates& exact : optimizers(scattered_array(dims, 0))) {
    CAPTURE(std::string(exact.op->name));
    Updates single = exact, spread = exact;
    for (int step = 1; step <= 3; ++step) {
      const Array gradient = scattered_array(dims, 100 * step);
      exact.take(exact.with(gradient, step).by_reference());
      single.take(single.with(gradient, step).by_kernels(1));
      spread.take(spread.with(gradient, step).by_kernels(3));
      CHECK(deviation(single.parameter, exact.parameter) <= 1e-6);
      CHECK(spread.parameter.data == single.parameter.data);
      for (const auto& [slot, values] : exact.state) {
        CHECK(deviation(single.state.at(slot), values) <= 1e-6);
        CHECK(spread.state.at(slot).data == single.state.at(slot).data);
      }
    }
  }
}

TEST_CASE("where gradient and state are zero nothing moves, so padding stays zero") {
  Array start = scattered_array({5, 13}, 0);
  for (std::int64_t i = 0; i < start.count(); i += 2) start[i] = 0;
  for (Updates& updates : optimizers(start)) {
    CAPTURE(std::string(updates.op->name));
    for (int step = 1; step <= 2; ++step) updates.take(updates.with(Array(start.dims), step).by_kernels());
    for (std::int64_t i = 0; i < start.count(); ++i)
      CHECK(updates.parameter[i] == static_cast<double>(static_cast<float>(start[i])));
    for (const auto& [slot, values] : updates.state)
      for (double value : values.data) CHECK(value == 0);
  }
}

TEST_CASE("Adam stays finite up to the gradient that its record names as the largest") {
  Updates adam("adam", {}, Array({3}));
  Array gradient({3});
  gradient.data = {adam.op->gradient_bound, -adam.op->gradient_bound, 1e-30};
  for (int step = 1; step <= 3; ++step) adam.take(adam.with(gradient, step).by_kernels());
  for (double value : adam.parameter.data) CHECK(std::isfinite(value));
  for (const auto& [slot, values] : adam.state)
    for (double value : values.data) CHECK(std::isfinite(value));
  gradient[0] = 1000 * adam.op->gradient_bound;
  adam.take(adam.with(gradient, 4).by_kernels());
  CHECK_FALSE(std::isfinite(adam.state.at("v")[0]));
}

TEST_CASE("a moving statistic keeps its momentum's share of the old value") {
  const OpDef& op = *find_op("moving_average");
  const TensorType type = unbatched({37});
  const Array old = scattered_array({37}, 0), batch = scattered_array({37}, 5);
  for (double momentum : {0.99, 0.0, 1.0}) {
    LoweredOp move(op, {{"momentum", momentum}}, 1, {LoweredOperand{type, old}, LoweredOperand{type, batch}});
    const Array moved = move.by_kernels().at("statistic");
    CHECK(deviation(moved, move.by_reference().at("statistic")) <= 1e-6);
    for (std::int64_t i = 0; i < 37; ++i)
      CHECK(moved[i] == doctest::Approx(momentum * old[i] + (1 - momentum) * batch[i]).epsilon(1e-5));
  }
}

TEST_CASE("update kernels refuse recipes that do not hold together") {
  const Array start = scattered_array({2, 3}, 0);
  const auto refusal = [](Recipe recipe, auto&& change) {
    change(recipe);
    const KernelDef* kernel = find_kernel(recipe.kernel);
    return message_of([&] { kernel->validate(recipe); });
  };
  const std::string accepted = "(nothing was thrown)";
  const Recipe adam = Updates("adam", {}, start).with(start, 1).recipes().at(0);
  const Recipe sgd = Updates("sgd", {{"momentum", 0.5}}, start).with(start, 1).recipes().at(0);
  CHECK(refusal(adam, [](Recipe&) {}) == accepted);
  CHECK(refusal(sgd, [](Recipe&) {}) == accepted);
  CHECK(refusal(adam, [](Recipe& r) { r.attributes.set("beta_2", 1.0); }) != accepted);
  CHECK(refusal(adam, [](Recipe& r) { r.attributes.set("epsilon", 0.0); }) != accepted);
  CHECK(refusal(adam, [](Recipe& r) { r.operands[0].access = Access::read; }) != accepted);
  CHECK(refusal(adam, [](Recipe& r) { r.operands[1].shape.layout = "po"; }) != accepted);
  CHECK(refusal(adam, [](Recipe& r) { r.operands[1].shape.dims = {3, 2}; }) != accepted);
  CHECK(refusal(sgd, [](Recipe& r) { r.operands.erase(r.operands.begin() + 2); }) != accepted);
  CHECK(refusal(sgd, [](Recipe& r) { r.attributes.set("nesterov", 1.0); }) != accepted);
  CHECK(refusal(sgd, [](Recipe& r) { r.operands.push_back(r.operands[0]); }) != accepted);
}
