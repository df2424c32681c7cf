// Losses along another axis than the last: the op that moves an axis, and whole models. The numbers of Keras and
// PyTorch are in loss_numbers_test.
#include <doctest/doctest.h>

#include <algorithm>

#include "compiler/verify.hpp"
#include "tests/lowered_op.hpp"
#include "tests/message_of.hpp"
#include "tests/models.hpp"

namespace weir {
namespace {

const OpDef& record() { return structural_op("move_axis"); }

LoweredOp example_of(const Example& example) {
  const TensorType& type = example.inputs.at(0);
  LoweredOperand operand{type, Array(full_dims(type, example.batch))};
  for (std::int64_t i = 0; i < operand.values.count(); ++i) operand.values[i] = static_cast<double>(i);
  return {record(), example.attributes, example.batch, {operand}};
}

/// A tower of [3, 4]: classes are its rows, of three.
const std::string model = R"({
  "format": "weir/1", "name": "columns",
  "inputs": { "x": { "shape": [3, 6] }, "label": { "shape": [4], "dtype": "i32" }, "y": { "shape": [3, 4] },
              "valid": { "shape": [4] }, "w": { "shape": [] } },
  "layers": [
    { "name": "below", "type": "dense", "units": 5, "activation": "tanh", "from": "x" },
    { "name": "left", "type": "dense", "units": 4, "from": "below" },
    { "name": "right", "type": "dense", "units": 4, "from": "below" }
  ],
  "loss": { "terms": {
    "sparse": { "type": "sparse_categorical_crossentropy", "at": "left", "axis": -2, "from_logits": true,
                "target": { "input": "label" }, "mask": { "input": "valid" }, "class_weight": [1, 2, 0.5] },
    "dense": { "type": "categorical_crossentropy", "at": "left", "axis": -2, "from_logits": true,
               "target": { "input": "label", "one_hot": 3 }, "sample_weight": { "input": "w" },
               "label_smoothing": 0.1 },
    "rows": { "type": "categorical_focal_crossentropy", "at": "right", "axis": -2, "from_logits": true,
              "target": { "input": "y" }, "mask": { "input": "valid" }, "class_weight": [1, 2, 0.5] },
    "near": { "type": "cosine_similarity", "at": "left", "axis": -2, "target": { "node": "right", "gradient": true },
              "sample_weight": { "input": "valid" }, "reduction": "mean_with_sample_weight" } } },
  "train": { "batch_size": 4, "optimizer": { "type": "sgd", "learning_rate": 0.1 } }
})";

bool holds(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an axis moves behind all others by the kernel as by the reference, and back") {
  for (const Example& example : record().examples) {
    CAPTURE(std::string(example.name));
    LoweredOp op = example_of(example);
    const Array expected = op.by_reference().at("output"), found = op.by_kernels(2).at("output");
    CHECK(found.dims == expected.dims);
    CHECK(found.data == expected.data);
    Example back = example;
    back.inputs = {TensorType{example.inputs[0].dtype, Dims(found.dims.begin() + 1, found.dims.end()), true}};
    const bool was_back = example.attributes.has("back") && example.attributes.flag("back");
    back.attributes.set("back", !was_back);
    LoweredOp other = example_of(back);
    other.operand("input") = found;
    const Array again = other.by_kernels().at("output");
    for (std::int64_t i = 0; i < again.count(); ++i) CHECK(again[i] == static_cast<double>(i));
  }
  const Array columns = example_of(record().examples.at(1)).by_kernels().at("output");  // [2, 3, 5], the middle
  CHECK(columns.dims == Dims{3, 2, 5, 3});
  CHECK(columns[1] == 5);
  CHECK(columns[15] == 15);
}

TEST_CASE("moving an axis refuses what it cannot do") {
  const TensorType rows = batched({2, 3});
  LoweredOp beyond(record(), {{"axis", std::int64_t{-3}}}, 1, {LoweredOperand{rows, Array(full_dims(rows, 1))}});
  try {
    beyond.infer();
    FAIL("accepted");
  } catch (const InferFailure& refused) {
    CHECK(refused.message == "axis -3 is no axis of f32[B, 2, 3]");
  }
  const Recipe right = example_of(record().examples.at(0)).recipes().at(0);
  const auto refusal = [&](auto&& change) {
    Recipe recipe = right;
    change(recipe);
    return message_of([&] { validate_recipe(recipe); });
  };
  CHECK(refusal([](Recipe&) {}) == "(nothing was thrown)");
  CHECK(holds(refusal([](Recipe& r) { std::swap(r.operands[1].shape.dims[1], r.operands[1].shape.dims[2]); }),
              "the operands must be [n, rows, columns] and [n, columns, rows]"));
  CHECK(holds(refusal([](Recipe& r) {
                for (RecipeOperand& operand : r.operands) operand.shape = {{6, 15}, "nc", "nc"};
              }),
              "the operands must be [n, rows, columns] and [n, columns, rows]"));
  CHECK(refusal([](Recipe& r) { r.operands[0].dtype = DType::i32; }) != "(nothing was thrown)");
  CHECK(refusal([](Recipe& r) { r.operands[0].shape.layout = "ncw"; }) != "(nothing was thrown)");
  CHECK(refusal([](Recipe& r) { r.attributes.set("axis", std::int64_t{1}); }) != "(nothing was thrown)");
}

TEST_CASE("losses along another axis agree with their references and with central differences") {
  VerifyOptions options;
  options.threads = 1;
  Diagnostics diagnostics("columns", model);
  const VerifySubjects subjects = prepare_verify(model, options, diagnostics);
  INFO(diagnostics.to_text());
  REQUIRE_FALSE(diagnostics.has_errors());
  const VerifyReport report = verify_gradients(subjects, options);
  for (const std::string& problem : report.problems()) FAIL_CHECK(problem);
  CHECK(report.terms.size() == 4);
}

TEST_CASE("a loss along another axis is that of the turned node") {
  const std::string turned =
      R"({ "format": "weir/1", "name": "turned", "inputs": { "x": { "shape": [3, 1] }, "y": { "shape": [3, 1] } },
      "layers": [ { "name": "scaled", "type": "dense", "units": 1, "from": "x" },
                  { "name": "row", "type": "reshape", "target_shape": [1, 3], "from": "scaled" } ],
      "loss": { "terms": {
        "last": { "type": "categorical_crossentropy", "at": "row", "from_logits": true,
                  "target": { "node": "flat" } },
        "other": { "type": "categorical_crossentropy", "at": "scaled", "axis": -2, "from_logits": true,
                   "target": { "input": "y" } } } } })";
  const std::string text =
      with(turned, R"("layers": [ )",
           R"("layers": [ { "name": "flat", "type": "reshape", "target_shape": [1, 3], "from": "y" }, )");
  Session session(compiled(text, {.threads = 1, .batch_sizes = {2}}), {.seed = 3});
  const Tensor x = made_up({2, 3, 1}, 1), y = made_up({2, 3, 1}, 2);
  const StepResult result = session.evaluate({{"x", x}, {"y", y}});
  CHECK(result.terms[0].value == result.terms[1].value);
  CHECK(result.terms[0].value != 0);
}

TEST_CASE("watching along another axis changes no bit") {
  const std::string plain = with(model, R"("near": {)", R"("near": { "weight": 2,)");
  const std::string watched =
      with(plain, R"("sparse": {)", R"("seen": { "type": "cosine_similarity", "at": "below", "axis": -2, "weight": 0,
        "target": { "constant": 1 } }, "sparse": {)");
  Session a(compiled(plain), {.seed = 1}), b(compiled(watched), {.seed = 1});
  const Tensor x = made_up({4, 3, 6}, 1), y = made_up({4, 3, 4}, 2), w = made_up({4}, 3);
  Tensor label(DType::i32, {4, 4}), valid(DType::f32, {4, 4});
  for (std::int64_t i = 0; i < 16; ++i) {
    label.data<std::int32_t>()[i] = static_cast<std::int32_t>(i % 3);
    valid.data<float>()[i] = i % 5 ? 1.0f : 0.0f;
  }
  const Feed feed{{"x", x}, {"y", y}, {"w", w}, {"label", label}, {"valid", valid}};
  for (int step = 0; step < 3; ++step) CHECK(a.train_step(feed).total == b.train_step(feed).total);
  for (const Parameter& parameter : a.plan().parameters)
    CHECK(a.parameter(parameter.name).bytes == b.parameter(parameter.name).bytes);
}

TEST_CASE("an axis that the node has not, weights along the wrong one and targets that do not learn are named") {
  const auto said = [](const std::string& from, const std::string& to) {
    return compile(with(model, from, to), {.threads = 1}).diagnostics.to_text();
  };
  CHECK(
      holds(said(R"("at": "left", "axis": -2, "target": { "node")", R"("at": "left", "axis": -3, "target": { "node")"),
            "axis -3 is no axis of the node, which is f32[B, 3, 4]"));
  CHECK(holds(said(R"("valid": { "shape": [4] })", R"("valid": { "shape": [3] })"),
              "the mask is f32[B, 3], but it must be f32[B] or f32[B, 4]"));
  CHECK(holds(said(R"("y": { "shape": [3, 4] })", R"("y": { "shape": [4, 3] })"),
              "so the target must be f32[B, 3, 4], but it is f32[B, 4, 3]"));
  CHECK(holds(said(R"("sample_weight": { "input": "valid" })",
                   R"("stop_at": ["right"], "sample_weight": { "input": "valid" })"),
              "no gradient flows into its target \"right\""));
}

}  // namespace weir
