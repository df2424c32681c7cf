// Losses and metrics: references against Keras and against central differences, kernels against references.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "runtime/error.hpp"
#include "runtime/kernels/elementary.hpp"
#include "tests/lowered_op.hpp"
#include "tests/message_of.hpp"
#include "tests/recorded_case.hpp"

using namespace weir;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const char* const loss_names[] = {"mean_absolute_error",
                                  "mean_squared_error",
                                  "categorical_crossentropy",
                                  "sparse_categorical_crossentropy",
                                  "binary_crossentropy",
                                  "huber",
                                  "log_cosh",
                                  "poisson",
                                  "mean_absolute_percentage_error",
                                  "mean_squared_logarithmic_error",
                                  "hinge",
                                  "squared_hinge",
                                  "binary_focal_crossentropy",
                                  "kl_divergence",
                                  "cosine_similarity",
                                  "categorical_hinge",
                                  "categorical_focal_crossentropy",
                                  "dice",
                                  "tversky",
                                  "kl_sparsity",
                                  "value"};
const char* const metric_names[] = {"categorical_accuracy", "sparse_categorical_accuracy", "binary_accuracy", "mean"};

const OpDef& op(std::string_view name) {
  const OpDef* found = find_op(name);
  REQUIRE_MESSAGE(found, name);
  return *found;
}
const OpDef& gradient_of(const OpDef& loss) { return *loss.internals.at(0); }

/// A loss or metric with its operands, all but the scalars.
struct Measured {
  const OpDef* op;
  Attributes attributes;
  std::int64_t batch;
  LoweredOperand prediction;
  std::optional<LoweredOperand> target;

  Array& x() { return prediction.values; }

  LoweredOp value(double rows) const {
    if (op->no_target) return {*op, attributes, batch, {prediction, scalar_operand(rows)}};
    return {*op, attributes, batch, {prediction, target, scalar_operand(rows)}};
  }
  LoweredOp gradient(double rows, double weight) const {
    const OpDef& record = gradient_of(*op);
    const Attributes all = with_defaults(*op, attributes);
    if (op->no_target) return {record, all, batch, {prediction, scalar_operand(weight), scalar_operand(rows)}};
    return {record, all, batch, {prediction, target, scalar_operand(weight), scalar_operand(rows)}};
  }
  double reference_value(double rows) const { return value(rows).by_reference().at("value")[0]; }
  double kernel_value(double rows, int threads = 1) const { return value(rows).by_kernels(threads).at("value")[0]; }
  Array reference_gradient(double rows, double weight = 1) const {
    return gradient(rows, weight).by_reference().at("gradient");
  }
  Array kernel_gradient(double rows, double weight = 1, int threads = 1) const {
    return gradient(rows, weight).by_kernels(threads).at("gradient");
  }
};

/// Values of both signs without regularity, exact in f32.
double spread(std::int64_t i) { return static_cast<double>((i * 37 + 11) % 61) / 16 - 1.84375; }

LoweredOperand filled(const TensorType& type, std::int64_t batch, std::size_t index, const Example& example) {
  LoweredOperand operand{type, Array(full_dims(type, batch))};
  for (std::int64_t i = 0; i < operand.values.count(); ++i) {
    const double value = example.fill ? example.fill(index, i) : spread(i + 17 * static_cast<std::int64_t>(index));
    operand.values[i] = type.dtype == DType::i32 ? std::floor(value) : static_cast<double>(static_cast<float>(value));
  }
  return operand;
}

Measured measured(const OpDef& record, const Example& example) {
  Measured result{&record, example.attributes, example.batch, filled(example.inputs[0], example.batch, 0, example), {}};
  if (example.inputs.size() > 1) result.target = filled(example.inputs[1], example.batch, 1, example);
  return result;
}

/// A row-wise case by hand: predictions [batch, classes], targets of the same shape or classes.
Measured rows_case(const char* name, Attributes attributes, std::int64_t classes, std::vector<double> predictions,
                   std::vector<double> targets) {
  const std::int64_t batch = static_cast<std::int64_t>(predictions.size()) / classes;
  Measured result{&op(name), std::move(attributes), batch, {batched({classes}), Array({batch, classes})}, {}};
  result.prediction.values.data = std::move(predictions);
  const bool sparse = result.op->integer_target || result.attributes.has("one_hot");
  result.target = sparse ? LoweredOperand{batched({}, DType::i32), Array({batch})}
                         : LoweredOperand{batched({classes}), Array({batch, classes})};
  if (targets.empty())
    result.target.reset();
  else
    result.target->values.data = std::move(targets);
  return result;
}

void check_close(double value, double expected, double tolerance) {
  if (std::isnan(expected))
    CHECK(std::isnan(value));
  else
    CHECK(std::abs(value - expected) <= tolerance * std::max(1.0, std::abs(expected)));
}

template <class Visit>
void for_each_example(std::initializer_list<std::span<const char* const>> lists, Visit&& visit) {
  for (auto names : lists)
    for (const char* name : names)
      for (const Example& example : op(name).examples) {
        CAPTURE(std::string(name));
        CAPTURE(std::string(example.name));
        visit(op(name), example);
      }
}

}  // namespace

TEST_CASE("losses and metrics have the values and gradients that Keras computes") {
  for (auto names : {std::span<const char* const>(loss_names), std::span<const char* const>(metric_names)})
    for (const char* name : names) {
      if (op(name).name == "value" || op(name).name == "kl_sparsity") continue;  // no words of Keras
      for (const auto& recorded : recorded_cases(name)) {
        CAPTURE(std::string(name));
        CAPTURE(recorded.at("name").get<std::string>());
        Measured loss{&op(name), recorded_attributes(recorded.at("attributes")), 0, scalar_operand(0), {}};
        const auto operand = [&](const char* role) {
          const auto& tensor = recorded.at("operands").at(role);
          const Array values = recorded_array(tensor);
          return LoweredOperand{batched({values.dims.begin() + 1, values.dims.end()},
                                        tensor.value("dtype", "f32") == "i32" ? DType::i32 : DType::f32),
                                values};
        };
        loss.prediction = operand("prediction");
        loss.batch = loss.prediction.values.dims[0];
        if (recorded.at("operands").contains("target")) loss.target = operand("target");
        if (recorded.at("attributes").contains("axis") && recorded["attributes"]["axis"] != -1) {
          CHECK_THROWS_AS(loss.value(1).infer(), InferFailure);
          continue;
        }
        const auto rows = static_cast<double>(loss.batch);
        const double f64 = recorded.at("tolerance").at("f64"), f32 = recorded.at("tolerance").at("f32");
        const double expected = recorded_array(recorded.at("results").at("value"))[0];
        check_close(loss.reference_value(rows), expected, f64);
        check_close(loss.kernel_value(rows), expected, f32);
        if (!recorded.contains("gradients")) continue;
        const Array gradient = recorded_array(recorded.at("gradients").at("prediction"));
        CHECK(deviation(loss.reference_gradient(rows), gradient) <= f64);
        CHECK(deviation(loss.kernel_gradient(rows), gradient) <= f32);
      }
    }
}

TEST_CASE("the reference gradient of every loss is the central difference of its value") {
  for_each_example({loss_names}, [](const OpDef& record, const Example& example) {
    Measured loss = measured(record, example);
    const auto rows = static_cast<double>(loss.batch);
    const Array gradient = loss.reference_gradient(rows, 0.75);
    for (std::int64_t i = 0; i < loss.x().count(); ++i) {
      const double x = loss.x()[i], step = 1e-6;
      loss.x()[i] = x + step;
      const double above = loss.reference_value(rows);
      loss.x()[i] = x - step;
      const double below = loss.reference_value(rows);
      loss.x()[i] = x;
      CHECK(gradient[i] == doctest::Approx(0.75 * (above - below) / (2 * step)).epsilon(1e-5));
    }
  });
}

TEST_CASE("loss and metric kernels agree with their references, whatever lies behind the real rows") {
  for_each_example({loss_names, metric_names}, [](const OpDef& record, const Example& example) {
    Measured loss = measured(record, example);
    const std::int64_t sample = loss.x().count() / loss.batch;
    for (std::int64_t rows = loss.batch; rows >= 0; --rows) {
      const double padding[] = {not_a_number, infinity, -infinity};
      for (std::int64_t i = rows * sample; i < loss.x().count(); ++i) loss.x()[i] = padding[i % 3];
      const auto real = static_cast<double>(rows);
      const double expected = loss.reference_value(real);
      CHECK(std::isfinite(expected));
      CHECK((rows > 0 || expected == 0));
      check_close(loss.kernel_value(real), expected, 2e-6);
      if (record.role == Role::metric) continue;
      for (double weight : {1.0, 0.1, 0.0}) {
        const Array gradient = loss.reference_gradient(real, weight), computed = loss.kernel_gradient(real, weight);
        CHECK(deviation(computed, gradient) <= 2e-6);
        for (std::int64_t i = weight == 0 ? 0 : rows * sample; i < computed.count(); ++i) CHECK(computed[i] == 0);
        CHECK(deviation(loss.gradient(real, weight).by_kernels(1, true).at("gradient"), computed) == 0);  // in place
      }
    }
  });
}

TEST_CASE("a weight of 0 gives a gradient of exactly 0 where the slope is not finite") {
  for (const char* name : {"mean_squared_error", "binary_crossentropy", "value"}) {
    CAPTURE(std::string(name));
    Measured loss = measured(op(name), op(name).examples[0]);
    loss.x()[0] = infinity;
    loss.x()[1] = not_a_number;
    for (double value : loss.kernel_gradient(static_cast<double>(loss.batch), 0).data) CHECK(value == 0);
    for (double value : loss.reference_gradient(static_cast<double>(loss.batch), 0).data) CHECK(value == 0);
  }
  Measured rows =
      rows_case("categorical_crossentropy", {{"from_logits", true}}, 3, {infinity, 0, -infinity}, {0, 1, 0});
  for (double value : rows.kernel_gradient(1, 0).data) CHECK(value == 0);
}

TEST_CASE("crossentropy of saturated logits neither overflows nor loses the distance") {
  const std::vector<double> far = {100, -100, 0, 1e30, 0, -1e30, -1e30, -1e30, 1e30, 3e38, 3e38, -3e38};
  for (std::int64_t chosen = 0; chosen < 3; ++chosen) {
    const double c = static_cast<double>(chosen);
    for (double smoothing : {0.0, 0.25}) {
      Measured loss = rows_case("categorical_crossentropy",
                                {{"from_logits", true}, {"one_hot", std::int64_t{3}}, {"label_smoothing", smoothing}},
                                3, far, {c, c, c, c});
      CHECK(std::isfinite(loss.kernel_value(4)));
      check_close(loss.kernel_value(4), loss.reference_value(4), 1e-6);
      CHECK(deviation(loss.kernel_gradient(4), loss.reference_gradient(4)) <= 1e-6);
    }
  }
  Measured bits = rows_case("binary_crossentropy", {{"from_logits", true}}, 6, {100, -100, 1e30, -1e30, 3e38, -3e38},
                            {0, 1, 1, 0, 1, 1});
  CHECK(std::isfinite(bits.kernel_value(1)));
  check_close(bits.kernel_value(1), bits.reference_value(1), 1e-6);
  CHECK(deviation(bits.kernel_gradient(1), bits.reference_gradient(1)) <= 1e-6);
}

TEST_CASE("crossentropy near certainty keeps its relative precision") {
  Measured loss = rows_case("sparse_categorical_crossentropy", {{"from_logits", true}}, 2, {20, 0}, {0});
  CHECK(loss.kernel_value(1) == doctest::Approx(std::log1p(std::exp(-20))).epsilon(1e-6));
  CHECK(loss.kernel_gradient(1)[0] == doctest::Approx(-std::exp(-20) / (1 + std::exp(-20))).epsilon(1e-6));
  Measured bits = rows_case("binary_crossentropy", {{"from_logits", true}}, 1, {20}, {1});
  CHECK(bits.kernel_value(1) == doctest::Approx(std::log1p(std::exp(-20))).epsilon(1e-6));
}

TEST_CASE("with one class crossentropy is 0 and pulls nowhere") {
  Measured loss = rows_case("sparse_categorical_crossentropy", {{"from_logits", true}}, 1, {5, -7}, {0, 0});
  CHECK(loss.kernel_value(2) == 0);
  CHECK(loss.kernel_gradient(2).data == std::vector<double>{0, 0});
}

TEST_CASE("crossentropy of probabilities 0 and 1 is clipped and finite") {
  const std::vector<double> certain = {1, 0, 0, 0, 1, 0, 0.5, 0.5, 0};
  for (const char* name : {"categorical_crossentropy", "sparse_categorical_crossentropy"}) {
    CAPTURE(std::string(name));
    const std::vector<double> targets =
        op(name).integer_target ? std::vector<double>{2, 1, 0} : std::vector<double>{0, 0, 1, 0, 1, 0, 1, 0, 0};
    Measured loss = rows_case(name, {}, 3, certain, targets);
    CHECK(loss.kernel_value(3) == doctest::Approx(loss.reference_value(3)).epsilon(1e-6));
    CHECK(deviation(loss.kernel_gradient(3), loss.reference_gradient(3)) <= 1e-6);
  }
}

TEST_CASE("at their kinks the losses have the gradients that Keras has") {
  const auto slopes = [](const char* name, const Attributes& attributes, const std::vector<double>& x,
                         const std::vector<double>& t) {
    Measured loss = rows_case(name, attributes, static_cast<std::int64_t>(x.size()), x, t);
    const Array gradient = loss.kernel_gradient(1, static_cast<double>(x.size()));
    CHECK(gradient.data == loss.reference_gradient(1, static_cast<double>(x.size())).data);
    return gradient.data;
  };
  using Values = std::vector<double>;
  CHECK(slopes("huber", {{"delta", 0.5}}, {0.5, -0.5, 0, 4}, {0, 0, 0, 0}) == Values{0.5, -0.5, 0, 0.5});
  CHECK(slopes("mean_absolute_percentage_error", {}, {2, 4}, {2, -4}) == Values{0, 25});
  CHECK(slopes("hinge", {}, {1, -1, 2, 0}, {1, -1, 1, 1}) == Values{-1, 1, 0, -1});
  CHECK(slopes("hinge", {{"zero_one", true}}, {1, -1, 2, 0}, {1, 0, 0, 1}) == Values{-1, 1, 1, -1});
  CHECK(slopes("squared_hinge", {}, {1, -1, 2, 0}, {1, -1, 1, 1}) == Values{0, 0, 0, -2});
  CHECK(slopes("mean_squared_logarithmic_error", {}, {-1, 0}, {1, 2}) == Values{0, 0});
}

TEST_CASE("probabilities 0 and 1 and rows of zeros leave the losses over rows finite") {
  const std::vector<double> certain = {1, 0, 0, 0, 1, 0, 0.5, 0.5, 0}, targets = {0, 0, 1, 0, 1, 0, 1, 0, 0};
  for (const char* name : {"kl_divergence", "categorical_focal_crossentropy", "binary_focal_crossentropy", "poisson"}) {
    CAPTURE(std::string(name));
    Measured loss = rows_case(name, {}, 3, certain, targets);
    CHECK(std::isfinite(loss.kernel_value(3)));
    CHECK(loss.kernel_value(3) == doctest::Approx(loss.reference_value(3)).epsilon(1e-6));
    CHECK(deviation(loss.kernel_gradient(3), loss.reference_gradient(3)) <= 1e-6);
  }
  Measured none = rows_case("cosine_similarity", {}, 3, {0, 0, 0}, {1, 2, 3});
  CHECK(none.kernel_value(1) == 0);
  CHECK(none.kernel_gradient(1).data == std::vector<double>{0, 0, 0});
  Measured outside = rows_case("categorical_hinge", {{"one_hot", std::int64_t{3}}}, 3, {1, 2, 3}, {3});
  CHECK(std::isnan(outside.kernel_value(1)));
}

TEST_CASE("a class outside the axis makes a loss NaN and is never a hit") {
  for (double outside : {-1.0, 3.0, 2147483647.0, -2147483648.0}) {
    CAPTURE(outside);
    Measured loss =
        rows_case("sparse_categorical_crossentropy", {{"from_logits", true}}, 3, {1, 2, 3, 1, 2, 3}, {0, outside});
    CHECK(std::isnan(loss.kernel_value(2)));
    CHECK(std::isfinite(loss.kernel_value(1)));
    const Array gradient = loss.kernel_gradient(2);
    CHECK(std::isfinite(gradient[2]));
    CHECK(std::isnan(gradient[3]));
    Measured hits = rows_case("sparse_categorical_accuracy", {}, 3, {1, 2, 3, 1, 2, 3}, {2, outside});
    CHECK(hits.kernel_value(2) == 0.5);
    CHECK(hits.reference_value(2) == 0.5);
  }
}

TEST_CASE("of equal largest entries accuracy takes the first, and a prediction at the threshold counts as 0") {
  Measured ties = rows_case("sparse_categorical_accuracy", {}, 3, {1, 1, 0, 0, 1, 1, 2, 2, 2}, {0, 1, 2});
  CHECK(ties.kernel_value(3) == doctest::Approx(2.0 / 3));
  Measured dense = rows_case("categorical_accuracy", {}, 3, {1, 1, 0, 0, 1, 1}, {0.5, 0.5, 0, 0, 0, 1});
  CHECK(dense.kernel_value(2) == 0.5);
  Measured at = rows_case("binary_accuracy", {{"threshold", 0.1}}, 2, {static_cast<double>(0.1f), 0.2}, {0, 1});
  CHECK(at.kernel_value(1) == 1);
  CHECK(at.reference_value(1) == 1);
}

TEST_CASE("sums do not depend on the number of threads") {
  const std::int64_t batch = 37, classes = 1531;  // several blocks, none of them full at the end
  Measured entries{&op("mean_squared_error"),
                   {},
                   batch,
                   {batched({classes}), Array({batch, classes})},
                   LoweredOperand{batched({classes}), Array({batch, classes})}};
  for (std::int64_t i = 0; i < entries.x().count(); ++i)
    entries.x()[i] = spread(i * 7 + i / 61), entries.target->values[i] = spread(i / 3);
  Measured bits = entries, rows = entries;
  bits.op = &op("binary_crossentropy");
  bits.attributes = {{"from_logits", true}};
  rows.op = &op("categorical_crossentropy");
  rows.attributes = {{"from_logits", true}, {"label_smoothing", 0.1}};
  for (const Measured* loss : {&entries, &bits, &rows}) {
    CAPTURE(std::string(loss->op->name));
    const double value = loss->kernel_value(36);
    check_close(value, loss->reference_value(36), 1e-6);
    const Array gradient = loss->kernel_gradient(36, 0.3);
    CHECK(deviation(gradient, loss->reference_gradient(36, 0.3)) <= 1e-6);
    for (int threads : {2, 3, 5}) {
      CHECK(loss->kernel_value(36, threads) == value);
      CHECK(loss->kernel_gradient(36, 0.3, threads).data == gradient.data);
    }
  }
}

TEST_CASE("one_hot writes zeros for a class outside the axis") {
  for (const Example& example : op("one_hot").examples) {
    LoweredOp one_hot(op("one_hot"), example.attributes, example.batch,
                      {filled(example.inputs[0], example.batch, 0, example)});
    CHECK(one_hot.by_kernels().at("output").data == one_hot.by_reference().at("output").data);
  }
  LoweredOperand classes{batched({}, DType::i32), Array({3})};
  classes.values.data = {2, -1, 3};
  LoweredOp one_hot(op("one_hot"), {{"one_hot", std::int64_t{3}}}, 3, {classes});
  CHECK(one_hot.by_kernels().at("output").data == std::vector<double>{0, 0, 1, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("losses refuse targets that do not fit, and say what would") {
  const auto failure = [](const char* name, Attributes attributes, TensorType prediction,
                          std::optional<TensorType> target) {
    std::vector<std::optional<LoweredOperand>> operands{LoweredOperand{prediction, Array(full_dims(prediction, 2))}};
    operands.emplace_back();
    if (target) operands.back() = LoweredOperand{*target, Array(full_dims(*target, 2))};
    operands.emplace_back(scalar_operand(2));
    try {
      LoweredOp(op(name), std::move(attributes), 2, operands).infer();
    } catch (const InferFailure& refused) {
      return refused.message;
    }
    return std::string("(accepted)");
  };
  CHECK(failure("mean_squared_error", {}, batched({}), batched({1})).find("f32[B, 1]") != std::string::npos);
  CHECK(failure("mean_squared_error", {}, batched({3}, DType::i32), batched({3})).find("f32 node") !=
        std::string::npos);
  CHECK(failure("categorical_crossentropy", {}, batched({10}), batched({}, DType::i32)).find("one_hot") !=
        std::string::npos);
  CHECK(failure("categorical_crossentropy", {{"one_hot", std::int64_t{9}}}, batched({10}), batched({}, DType::i32))
            .find("one_hot 9") != std::string::npos);
  CHECK(failure("categorical_crossentropy", {{"constant", 0.0}}, batched({}), {}).find("class axis") !=
        std::string::npos);
  CHECK(failure("sparse_categorical_crossentropy", {}, batched({10}), batched({10})).find("i32[B]") !=
        std::string::npos);
  CHECK(failure("sparse_categorical_crossentropy", {{"constant", 10.0}}, batched({10}), {}).find("0 to 9") !=
        std::string::npos);
  CHECK(failure("sparse_categorical_crossentropy", {{"constant", 1.5}}, batched({10}), {}).find("0 to 9") !=
        std::string::npos);
  CHECK(failure("categorical_crossentropy", {{"axis", std::int64_t{-3}}}, batched({3, 4}), batched({3, 4}))
            .find("axis -3 is no axis of the node, which is f32[B, 3, 4]") != std::string::npos);
}

TEST_CASE("loss kernels refuse recipes that do not hold together") {
  Measured loss = rows_case("sparse_categorical_crossentropy", {{"from_logits", true}}, 3, {1, 2, 3, 1, 2, 3}, {0, 1});
  const Recipe rows = loss.gradient(2, 1).recipes().at(0);
  const Recipe entries =
      measured(op("binary_crossentropy"), op("binary_crossentropy").examples[0]).gradient(3, 1).recipes().at(0);
  const auto refusal = [](Recipe recipe, auto&& change) {
    change(recipe);
    const KernelDef* kernel = find_kernel(recipe.kernel);
    return message_of([&] { kernel->validate(recipe); });
  };
  const std::string accepted = "(nothing was thrown)";
  CHECK(refusal(rows, [](Recipe&) {}) == accepted);
  CHECK(refusal(entries, [](Recipe&) {}) == accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.attributes.set("form", std::string("guess")); }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.attributes.erase("divisor"); }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.attributes.set("divisor", 0.0); }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.attributes.set("more", 1.0); }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.operands[0].shape = {{2, 3}, "nc", "nc"}; }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.operands[1].shape.dims[0] = 1; }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.operands.erase(r.operands.begin() + 1); }) != accepted);
  CHECK(refusal(rows, [](Recipe& r) { r.operands[1].dtype = DType::u8; }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.attributes.set("loss", std::string("guess")); }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.attributes.set("loss", std::string("value")); }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.attributes.set("label_smoothing", 2.0); }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.attributes.set("constant", 2.0); }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.operands[0].shape.layout = "cn"; }) != accepted);
  CHECK(refusal(entries, [](Recipe& r) { r.operands.pop_back(); }) != accepted);
}

TEST_CASE("exp and log of the loss kernels are within 2 units in the last place") {
  const auto units = [](float value, double exact) { return std::abs(value - exact) / (std::abs(exact) * 0x1p-23); };
  double worst_exp = 0, worst_log = 0;
  for (int i = 0; i <= 1'000'000; ++i) {
    const float x = -87.0f * static_cast<float>(i) / 1'000'000, e = static_cast<float>(i) / 1'000'000;
    worst_exp = std::max(worst_exp, units(kernels::exp_of_negative(x), std::exp(static_cast<double>(x))));
    if (i > 0) worst_log = std::max(worst_log, units(kernels::log_of_one_plus(e), std::log1p(static_cast<double>(e))));
  }
  for (float e = 1; e > 1e-37f; e *= 0.7f)
    worst_log = std::max(worst_log, units(kernels::log_of_one_plus(e), std::log1p(static_cast<double>(e))));
  CHECK(worst_exp < 2);
  CHECK(worst_log < 2);
  CHECK(kernels::exp_of_negative(0.0f) == 1.0f);
  CHECK(kernels::exp_of_negative(-3e38f) == 0.0f);
  CHECK(std::isnan(kernels::exp_of_negative(std::nanf(""))));
  CHECK(std::isnan(kernels::log_of_one_plus(std::nanf(""))));
  CHECK(kernels::log_of_one_plus(0.0f) == 0.0f);
}
