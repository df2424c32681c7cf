// What each entry of an unreduced loss counts, and what their sum is divided by: by hand, every example of the record
// by its kernel, and what record and kernel refuse.
#include <doctest/doctest.h>

#include <limits>

#include "tests/lowered_op.hpp"
#include "tests/message_of.hpp"

namespace weir {
namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const OpDef& record() { return structural_op("entry_weights"); }

LoweredOperand filled(const TensorType& type, std::int64_t batch, const std::vector<double>& values) {
  LoweredOperand operand{type, Array(full_dims(type, batch))};
  operand.values.data = values;
  return operand;
}

/// Two samples of two entries: the second is masked, the third is of class 2.
LoweredOp by_hand(Attributes attributes, double rows) {
  attributes.set("entries", Dims{2});
  attributes.set("class_weight", std::vector<double>{1, 3, 5});
  return {record(),
          attributes,
          2,
          {filled(batched({2}, DType::i32), 2, {0, 1, 2, 1}), filled(batched({2}), 2, {2, 4, 0.5, 1}),
           filled(batched({2}), 2, {1, 0, 1, 1}), scalar_operand(rows)}};
}

void check_both(LoweredOp op, const std::vector<double>& weights, double denominator) {
  for (const Computed& computed : {op.by_reference(), op.by_kernels()}) {
    CHECK(computed.at("weights").data == weights);
    CHECK(computed.at("denominator")[0] == denominator);
  }
}

LoweredOp example_of(const Example& example, double rows) {
  std::vector<std::optional<LoweredOperand>> operands;
  for (std::size_t i = 0; i < example.inputs.size(); ++i) {
    LoweredOperand operand{example.inputs[i], Array(full_dims(example.inputs[i], example.batch))};
    const std::int64_t sample = operand.values.count() / example.batch;
    for (std::int64_t k = 0; k < operand.values.count(); ++k) {
      const bool real = k / sample < static_cast<std::int64_t>(rows);
      const double padding = example.inputs[i].dtype == DType::f32 ? not_a_number : 400;
      operand.values[k] = real ? example.fill(i, k) : padding;
    }
    operands.emplace_back(std::move(operand));
  }
  operands.emplace_back(scalar_operand(rows));
  return {record(), example.attributes, example.batch, std::move(operands)};
}

/// Of a recipe of the record's first example, after a change.
template <class Change>
std::string refusal(const Change& change) {
  Recipe recipe = example_of(record().examples.at(0), 3).recipes().at(0);
  change(recipe);
  return message_of([&] { validate_recipe(recipe); });
}

RecipeOperand& operand(Recipe& recipe, std::string_view role) {
  return recipe.operands.at(static_cast<std::size_t>(recipe.index_of(role)));
}

void erase(Recipe& recipe, std::string_view role) {
  recipe.operands.erase(recipe.operands.begin() + recipe.index_of(role));
}

bool holds(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("entries count mask · sample weight · class weight, and each word divides by what it says") {
  const std::vector<std::pair<const char*, double>> whole{{"entries", 2},        {"rows", 2},          {"one", 1},
                                                          {"sample_weights", 3}, {"class_weights", 4}, {"weights", 5}};
  for (const auto& [word, denominator] : whole) {
    const Attributes attributes{{"divide_by", std::string(word)}, {"ignore_class", std::int64_t{2}}};
    CAPTURE(attributes.word("divide_by"));
    check_both(by_hand(attributes, 2), {2, 0, 0, 3}, denominator);
  }
  const std::vector<std::pair<const char*, double>> one{{"entries", 1},        {"rows", 1},          {"one", 1},
                                                        {"sample_weights", 2}, {"class_weights", 1}, {"weights", 2}};
  for (const auto& [word, denominator] : one)
    check_both(by_hand({{"divide_by", std::string(word)}}, 1), {2, 0, 0, 0}, denominator);
  check_both(by_hand({{"divide_by", std::string("rows")}}, 0), {0, 0, 0, 0}, 0);
}

TEST_CASE("without a mask all entries are divided by, and a class outside the table counts 1") {
  const auto classes = filled(batched({2}, DType::i32), 2, {0, -1, 7, 1});
  const Attributes attributes{
      {"entries", Dims{2}}, {"divide_by", std::string("entries")}, {"class_weight", std::vector<double>{0.5, 2}}};
  check_both({record(), attributes, 2, {classes, std::nullopt, std::nullopt, scalar_operand(2)}}, {0.5, 1, 1, 2}, 4);
  Attributes ignoring = attributes;
  ignoring.set("ignore_class", std::int64_t{7});
  check_both({record(), ignoring, 2, {classes, std::nullopt, std::nullopt, scalar_operand(2)}}, {0.5, 1, 0, 2}, 3);
}

TEST_CASE("a row's class is the place of its first largest entry") {
  const Attributes attributes{{"entries", Dims{2}},
                              {"divide_by", std::string("weights")},
                              {"argmax", true},
                              {"class_weight", std::vector<double>{1, 2, 4}}};
  const auto rows = filled(batched({2, 3}), 2, {0, 1, 1, 1, 0, 0, -3, -2, -1, 0.5, 0.5, 0.5});
  check_both({record(), attributes, 2, {rows, std::nullopt, std::nullopt, scalar_operand(2)}}, {2, 1, 4, 1}, 8);
}

TEST_CASE("every example of the record by its kernel, whatever lies behind the real rows") {
  for (const Example& example : record().examples) {
    CAPTURE(std::string(example.name));
    for (std::int64_t rows = example.batch; rows >= 0; --rows) {
      LoweredOp op = example_of(example, static_cast<double>(rows));
      const Computed expected = op.by_reference(), found = op.by_kernels(2);
      for (const char* name : {"weights", "denominator"}) CHECK(found.at(name).data == expected.at(name).data);
      if (rows == 0 || example.name == "none_valid") CHECK(expected.at("denominator")[0] == 0);
      if (rows == example.batch && example.name != "none_valid") CHECK(expected.at("denominator")[0] > 0);
    }
  }
}

TEST_CASE("the record refuses weights and masks of another shape, with both shapes") {
  const auto failure = [](const TensorType& sample_weight, const TensorType& mask) {
    const auto zeros = [](const TensorType& type) { return LoweredOperand{type, Array(full_dims(type, 2))}; };
    try {
      LoweredOp({record(),
                 {{"entries", Dims{2, 3}}, {"divide_by", std::string("entries")}},
                 2,
                 {std::nullopt, zeros(sample_weight), zeros(mask), scalar_operand(2)}})
          .infer();
    } catch (const InferFailure& refused) {
      return refused.message;
    }
    return std::string("(accepted)");
  };
  CHECK(failure(batched({2, 3}), batched({}, DType::i32)) == "(accepted)");
  CHECK(holds(failure(batched({2}), batched({})),
              "the sample_weight is f32[B, 2], but it must be f32[B] or f32[B, 2, 3]"));
  CHECK(holds(failure(batched({}), batched({2, 3, 1}, DType::i32)),
              "the mask is i32[B, 2, 3, 1], but it must be i32[B] or i32[B, 2, 3]"));
}

TEST_CASE("the kernel of entry weights refuses recipes that do not hold together") {
  CHECK(refusal([](Recipe&) {}) == "(nothing was thrown)");
  CHECK(holds(refusal([](Recipe& r) {
                operand(r, "weights").shape = {{12}, "n", "n"};
              }),
              "the weights must be [batch, entries]"));
  CHECK(holds(refusal([](Recipe& r) { operand(r, "mask").shape.dims[1] = 2; }),
              "mask must be [batch, 1] or have the extents of the weights"));
  CHECK(holds(refusal([](Recipe& r) { operand(r, "sample_weight").shape.dims[0] = 2; }),
              "sample_weight must be [batch, 1] or have the extents of the weights"));
  CHECK(holds(refusal([](Recipe& r) { erase(r, "target"); }), "class weights and an ignored class need a target"));
  CHECK(holds(refusal([](Recipe& r) { operand(r, "target").shape.dims[1] = 8; }),
              "the target must have a class, or with argmax a row, for each weight"));
  CHECK(holds(refusal([](Recipe& r) {
                operand(r, "target").shape.dims[1] = 6;
                r.attributes.set("argmax", true);
              }),
              "the target must have a class, or with argmax a row, for each weight"));
  CHECK(holds(refusal([](Recipe& r) { r.attributes.set("more", 1.0); }), "a setting that entry weights do not take"));
  const std::string accepted = "(nothing was thrown)";
  CHECK(refusal([](Recipe& r) { r.attributes.set("divide_by", std::string("two")); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.set("ignore_class", 0.5); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.set("argmax", std::int64_t{1}); }) != accepted);
  CHECK(refusal([](Recipe& r) { r.attributes.set("class_weight", std::vector<double>{-1, 1}); }) != accepted);
  CHECK(refusal([](Recipe& r) { operand(r, "denominator").dtype = DType::f32; }) != accepted);
  CHECK(refusal([](Recipe& r) { operand(r, "mask").dtype = DType::u8; }) != accepted);
  CHECK(refusal([](Recipe& r) { erase(r, "rows"); }) != accepted);
}

}  // namespace weir
