// Sample weights, masks, class weights and ignored classes, through whole models.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "compiler/cli/verify.hpp"
#include "runtime/trainer.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Two terms with a mask of their own on one target, one of them by place; a third on classes with everything at once.
const std::string model = R"({
  "format": "weir/1", "name": "weighted",
  "inputs": { "x": { "shape": [3, 4] }, "y": { "shape": [3, 2] }, "label": { "shape": [3], "dtype": "i32" },
              "valid": { "shape": [3] }, "kept": { "shape": [], "dtype": "i32" }, "s": { "shape": [3] } },
  "layers": [
    { "name": "hidden", "type": "dense", "from": "x", "units": 5, "activation": "tanh" },
    { "name": "point", "type": "dense", "from": "hidden", "units": 2 },
    { "name": "output", "type": "dense", "from": "hidden", "units": 4, "activation": "softmax" }
  ],
  "loss": { "terms": {
    "error": { "type": "mean_squared_error", "at": "point", "target": { "input": "y" }, "mask": { "input": "valid" } },
    "class": { "type": "sparse_categorical_crossentropy", "at": "output", "target": { "input": "label" },
               "mask": { "input": "kept" }, "sample_weight": { "input": "s" }, "class_weight": [0.5, 2, 1, 3],
               "ignore_class": -1 } } },
  "train": { "batch_size": 4, "optimizer": { "type": "sgd", "learning_rate": 0.1 },
             "metrics": { "accuracy": { "type": "sparse_categorical_accuracy", "at": "output",
               "target": { "input": "label" }, "mask": { "input": "kept" }, "sample_weight": { "input": "s" },
               "ignore_class": -1 } } }
})";

Tensor filled(DType dtype, const Dims& dims, double value) {
  Tensor tensor(dtype, dims);
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    if (dtype == DType::i32)
      tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>(value);
    else
      tensor.data<float>()[i] = static_cast<float>(value);
  return tensor;
}

struct Weighted {
  explicit Weighted(const std::string& text = model) : session(compiled(text), {.seed = 1, .poison = true}) {}
  Feed feed() const { return {{"x", x}, {"y", y}, {"label", label}, {"valid", valid}, {"kept", kept}, {"s", s}}; }
  Tensor gradient(const std::string& name) {
    session.gradient_step(feed());
    return session.gradient(name);
  }

  Session session;
  Tensor x = made_up({4, 3, 4}, 1), y = made_up({4, 3, 2}, 2), label = filled(DType::i32, {4, 3}, 2),
         valid = filled(DType::f32, {4, 3}, 1), kept = filled(DType::i32, {4}, 1), s = made_up({4, 3}, 3);
};

}  // namespace

TEST_CASE("weir verify holds for masks, sample weights, class weights and ignored classes") {
  VerifyOptions options;
  Diagnostics diagnostics;
  const VerifySubjects subjects = prepare_verify(model, options, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE_FALSE(diagnostics.has_errors());
  const VerifyReport report = verify_gradients(subjects, options);
  for (const std::string& problem : report.problems()) FAIL_CHECK(problem);
  CHECK(report.terms.size() == 2);
}

TEST_CASE("what a mask leaves out is not read: its target may be NaN or no class, and changes no bit") {
  Weighted clean, spoilt;
  for (Weighted* one : {&clean, &spoilt}) {
    one->valid.data<float>()[1] = 0;
    one->kept.data<std::int32_t>()[2] = 0;
    one->label.data<std::int32_t>()[0] = -1;  // the ignored class
  }
  spoilt.y.data<float>()[2] = spoilt.y.data<float>()[3] = not_a_number;
  spoilt.label.data<std::int32_t>()[7] = 400;
  for (const char* name : {"hidden.kernel", "point.kernel", "output.kernel"}) {
    const Tensor expected = clean.gradient(name), found = spoilt.gradient(name);
    CHECK(found.bytes == expected.bytes);
  }
}

TEST_CASE("what some term reads must be finite, a class in its range and a mask 0 or 1, and the row is named") {
  const auto refusal = [](const auto& spoil) {
    Weighted weighted;
    weighted.valid.data<float>()[1] = 0;
    spoil(weighted);
    return message_of([&] { weighted.session.train_step(weighted.feed()); });
  };
  CHECK(refusal([](Weighted& w) { w.y.data<float>()[7] = not_a_number; }) == "input \"y\", row 1, is not finite");
  CHECK(refusal([](Weighted& w) { w.label.data<std::int32_t>()[8] = 4; }) ==
        "input \"label\", row 2: class 4 is outside 0 … 3");
  CHECK(refusal([](Weighted& w) { w.label.data<std::int32_t>()[8] = -2; }) ==
        "input \"label\", row 2: class -2 is outside 0 … 3");
  CHECK(refusal([](Weighted& w) { w.valid.data<float>()[11] = 0.5f; }) ==
        "input \"valid\", row 3: a mask holds 0 and 1, not 0.5");
  CHECK(refusal([](Weighted& w) { w.kept.data<std::int32_t>()[1] = 2; }) ==
        "input \"kept\", row 1: a mask holds 0 and 1, not 2");
  CHECK(refusal([](Weighted& w) { w.s.data<float>()[1] = not_a_number; }) == "input \"s\", row 0, is not finite");
}

TEST_CASE("a target that an unmasked term reads too must be finite throughout") {
  Weighted weighted(with(model, R"("class": {)", R"("all": { "type": "mean_squared_error", "at": "point",
    "target": { "input": "y" } }, "class": {)"));
  weighted.valid.data<float>()[1] = 0;
  weighted.y.data<float>()[2] = not_a_number;
  CHECK(message_of([&] { weighted.session.train_step(weighted.feed()); }) == "input \"y\", row 0, is not finite");
}

TEST_CASE("a term without a valid entry is 0, trains nothing and is counted") {
  Weighted weighted;
  weighted.kept = filled(DType::i32, {4}, 0);
  weighted.y = filled(DType::f32, {4, 3, 2}, 1);
  EpochSum sum;
  const StepResult masked = weighted.session.gradient_step(weighted.feed());
  CHECK(masked.terms[1].value == 0);
  CHECK(masked.terms[1].empty);
  CHECK_FALSE(masked.terms[0].empty);
  CHECK(masked.metrics[0].second == 0);
  sum.add(masked, 4);
  const Tensor gradient = weighted.session.gradient("output.kernel");
  for (std::int64_t i = 0; i < gradient.count(); ++i) CHECK(gradient.data<float>()[i] == 0);
  weighted.kept = filled(DType::i32, {4}, 1);
  weighted.label = filled(DType::i32, {4, 3}, -1);
  sum.add(weighted.session.gradient_step(weighted.feed()), 4);
  weighted.label = filled(DType::i32, {4, 3}, 1);
  const StepResult whole = weighted.session.gradient_step(weighted.feed());
  CHECK_FALSE(whole.terms[1].empty);
  const double accuracy = whole.metrics[0].second;
  sum.add(whole, 4);
  const EpochValues mean = sum.mean();
  CHECK(mean.terms[1].empty == 2);
  CHECK(mean.terms[0].empty == 0);
  CHECK(mean.metrics[0].second == doctest::Approx(accuracy));  // batches without weight do not count
}

TEST_CASE("weights that are all 0 give value 0, and a mean over them no gradient") {
  Weighted weighted(with(model, R"("ignore_class": -1 } } })",
                         R"("ignore_class": -1, "reduction": "mean_with_sample_weight" } } })"));
  weighted.s = filled(DType::f32, {4, 3}, 0);
  const StepResult result = weighted.session.train_step(weighted.feed());
  CHECK(result.terms[1].value == 0);
  CHECK(result.terms[1].empty);
}

TEST_CASE("a weight for each sample counts like the same weight at each of its entries") {
  const std::string spread = with(model, R"("s": { "shape": [3] })", R"("s": { "shape": [] })");
  Weighted by_sample(spread), by_entry;
  by_sample.s = made_up({4}, 7);
  for (std::int64_t i = 0; i < 12; ++i) by_entry.s.data<float>()[i] = by_sample.s.data<float>()[i / 3];
  CHECK(by_sample.gradient("output.kernel").bytes == by_entry.gradient("output.kernel").bytes);
}

TEST_CASE("evaluation reads masks and weights of any number of rows, and its padding counts nothing") {
  Weighted weighted;
  weighted.valid.data<float>()[1] = 0;
  const double all = weighted.session.evaluate(weighted.feed()).terms[0].value;
  double sum = 0, count = 0;
  for (std::int64_t row = 0; row < 4; ++row) {
    Feed one;
    const Feed whole = weighted.feed();
    for (const auto& [name, tensor] : {std::pair<const char*, const Tensor*>{"x", &weighted.x},
                                       {"y", &weighted.y},
                                       {"label", &weighted.label},
                                       {"valid", &weighted.valid},
                                       {"kept", &weighted.kept},
                                       {"s", &weighted.s}})
      one.emplace(name, rows(*tensor, row, 1));
    const double valid = row == 0 ? 2 : 3;
    sum += valid * weighted.session.evaluate(one).terms[0].value;
    count += valid;
  }
  CHECK(all == doctest::Approx(sum / count).epsilon(1e-6));
}

TEST_CASE("weights that do not fit their loss are refused with both shapes") {
  const auto diagnostics = [](const std::string& from, const std::string& to) {
    return compile(with(model, from, to), {.threads = 2}).diagnostics.to_text();
  };
  const auto holds = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  holds(diagnostics(R"("valid": { "shape": [3] })", R"("valid": { "shape": [3, 2] })"),
        "the mask is f32[B, 3, 2], but it must be f32[B] or f32[B, 3]");
  holds(diagnostics(R"("s": { "shape": [3] })", R"("s": { "shape": [4] })"),
        "the sample_weight is f32[B, 4], but it must be f32[B] or f32[B, 3]");
  holds(diagnostics("[0.5, 2, 1, 3]", "[0.5, 2, 1]"),
        "class_weight has 3 numbers, but the prediction is f32[B, 3, 4], which has 4 classes");
}

}  // namespace weir
