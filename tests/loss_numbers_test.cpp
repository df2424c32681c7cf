// Every loss × reduction × weighting against numbers recorded from Keras and PyTorch (tests/reference/losses.json): the
// double-precision references, and what is compiled for this machine.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>

#include "tests/recorded_term.hpp"

namespace weir {
namespace {

using Json = nlohmann::json;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const Json& recorded_losses() {
  static const Json file = Json::parse(std::ifstream(std::string(WEIR_SOURCE_DIR) + "/tests/reference/losses.json"));
  return file.at("groups");
}

std::string title(const Json& group, const Json& recorded) {
  return group.at("op").get<std::string>() + " " + group.at("form").get<std::string>() + ", " +
         group.at("name").get<std::string>() + ", " + recorded.at("weighting").get<std::string>() + ", " +
         recorded.at("attributes").at("reduction").get<std::string>();
}

/// value, and the gradient of the learning side.
struct Numbers {
  double value;
  Array gradient;
};

Numbers expected_of(const Json& group, const Json& recorded, Learner learner) {
  Numbers expected{recorded.at("value").get<double>(), recorded_array(group.at("prediction"))};
  const char* name = learner == Learner::prediction ? "gradient" : "target_gradient";
  expected.gradient.data = recorded.at(name).get<std::vector<double>>();
  return expected;
}

const char* name_of(Learner learner) { return learner == Learner::prediction ? "prediction" : "target"; }

Numbers in_double(const OpCase& model, Learner learner) {
  Interpreter run = model.interpreter();
  run.compute();
  return {run.value("loss.error")[0], run.gradient(name_of(learner))};
}

Numbers compiled_for(const Target& target, const OpCase& model, Learner learner) {
  Session session = model.session(target);
  const std::map<std::string, Tensor> inputs = model.inputs();
  const double value = session.gradient_step(Feed(inputs.begin(), inputs.end())).terms[0].value;
  const Tensor gradient = session.gradient(name_of(learner));
  Numbers found{value, Array(gradient.dims)};
  for (std::int64_t i = 0; i < gradient.count(); ++i)
    found.gradient[i] = static_cast<double>(gradient.data<float>()[i]);
  return found;
}

/// Relative to the largest entry; absolute where all of them are 0.
void check_agreement(const Numbers& found, const Numbers& expected, double of_value, double of_gradient) {
  const double scale = expected.value == 0 ? 1 : std::abs(expected.value);
  CHECK(std::abs(found.value - expected.value) <= of_value * scale);
  CHECK(deviation(found.gradient, expected.gradient) <= of_gradient);
}

/// Of the value; more only where Keras takes a constant through f32.
double tolerance(const Json& group) { return group.at("tolerance").get<double>(); }

template <class Visit>
void for_each_case(Visit&& visit) {
  for (const Json& group : recorded_losses())
    for (const Json& recorded : group.at("cases"))
      for (const Learner learner : {Learner::prediction, Learner::target}) {
        if (learner == Learner::target && !recorded.contains("target_gradient")) continue;
        INFO(title(group, recorded), " by ", std::string(name_of(learner)));
        visit(group, recorded, learner);
      }
}

bool takes_weights(const OpDef& op) {
  return std::any_of(op.operands.begin(), op.operands.end(),
                     [](const OperandDef& operand) { return operand.name == "entry_weights"; });
}

/// What the record of an op says it takes: names of weightings in the recordings.
std::vector<std::string> weightings(const OpDef& op, const std::string& reduction) {
  if (!takes_weights(op)) return {"none"};
  std::vector<std::string> names{"samples", "entries", "mask and entries"};
  if (reduction != "mean_with_sample_weight") names.insert(names.end(), {"none", "mask"});
  if (reduction == "mean") names.emplace_back("mask of samples");
  if (find_attribute(op, "label_smoothing")) names.emplace_back("smoothed");
  if (find_attribute(op, "class_weight")) names.emplace_back("classes");
  if (find_attribute(op, "ignore_class")) names.emplace_back("ignored");
  return names;
}

}  // namespace

TEST_CASE("every loss, reduction and weighting has the values and gradients of Keras and PyTorch, in double") {
  int compared = 0, by_target = 0;
  for_each_case([&](const Json& group, const Json& recorded, Learner learner) {
    RecordedTerm term(group, recorded, learner);
    const Numbers found = in_double(term.model(), learner);
    check_agreement(found, expected_of(group, recorded, learner), tolerance(group), 1e-12);
    ++(learner == Learner::target ? by_target : compared);
  });
  CHECK(compared > 650);
  CHECK(by_target > 200);
}

TEST_CASE("every loss, reduction and weighting has the values and gradients of Keras and PyTorch, compiled") {
  const std::unique_ptr<Target> target = host_target(2);
  for_each_case([&](const Json& group, const Json& recorded, Learner learner) {
    RecordedTerm term(group, recorded, learner);
    check_agreement(compiled_for(*target, term.model(), learner), expected_of(group, recorded, learner), 1e-5, 1e-5);
  });
}

TEST_CASE("no loss, form, reduction, weighting, learning side or profile of the op table is without recorded numbers") {
  std::set<std::string> seen, missing;
  for_each_case([&](const Json& group, const Json& recorded, Learner learner) {
    const std::string op = group.at("op");
    if (group.at("attributes").contains("numerics"))
      seen.insert(op + ", profile pytorch by " + name_of(learner));
    else
      seen.insert(op + " " + group.at("form").get<std::string>() + ", " +
                  recorded.at("attributes").at("reduction").get<std::string>() + ", " +
                  recorded.at("weighting").get<std::string>() + " by " + name_of(learner));
  });
  const auto want = [&](const std::string& key) {
    if (!seen.contains(key)) missing.insert(key);
  };
  for (const OpDef* op : ops_table()) {
    if (op->role != Role::loss) continue;
    const std::string name(op->name);
    for (const Learner learner : {Learner::prediction, Learner::target})
      if (!op->pytorch.empty() && (learner == Learner::prediction || op->target_gradient))
        want(name + ", profile pytorch by " + name_of(learner));
    for (const std::string_view reduction : find_attribute(*op, "reduction")->words) {
      if (!takes_weights(*op) && reduction != "mean" && reduction != "sum") continue;  // one number for the batch
      for (const char* form : {"logits", "probabilities"})
        for (const std::string& weighting : weightings(*op, std::string(reduction)))
          for (const Learner learner : {Learner::prediction, Learner::target})
            if (learner == Learner::prediction || op->target_gradient)
              want(name + " " + (op->logits_behind.empty() ? "" : form) + ", " + std::string(reduction) + ", " +
                   weighting + " by " + name_of(learner));
    }
  }
  for (const std::string& key : missing) FAIL_CHECK("not recorded: " << key);
  CHECK(seen.size() > 600);
}

TEST_CASE("what a mask leaves out is not read: NaN there changes no number, in double and compiled") {
  const std::unique_ptr<Target> target = host_target(1);
  int compared = 0;
  for_each_case([&](const Json& group, const Json& recorded, Learner learner) {
    RecordedTerm term(group, recorded, learner);
    if (!term.has("mask") || group.at("attributes").contains("axis")) return;  // moved, so read throughout
    const Array mask = term.operand("mask");
    for (const char* name : {"prediction", "target"}) {
      const bool fed = learner == Learner::target && name == std::string("prediction");  // inputs are checked
      if (fed || !term.has(name)) continue;
      Array& operand = term.operand(name);
      for (std::int64_t i = 0; i < operand.count(); ++i)
        if (mask[i / (operand.count() / mask.count())] == 0)
          operand[i] = group.at(name).value("dtype", "f32") == "i32" ? 400 : not_a_number;
    }
    const OpCase model = term.model();
    const Numbers expected = expected_of(group, recorded, learner);
    check_agreement(in_double(model, learner), expected, tolerance(group), 1e-12);
    check_agreement(compiled_for(*target, model, learner), expected, 1e-5, 1e-5);
    ++compared;
  });
  CHECK(compared > 100);
}

TEST_CASE("where every entry is masked, value and gradients are 0, whatever stands there") {
  const std::unique_ptr<Target> target = host_target(1);
  int compared = 0;
  for_each_case([&](const Json& group, const Json& recorded, Learner learner) {
    const std::string weighting = recorded.at("weighting"), name = group.at("name");
    if (name != "full" || (weighting != "none" && weighting != "entries")) return;
    if (!takes_weights(*find_op(group.at("op").get<std::string>()))) return;
    RecordedTerm term(group, recorded, learner);
    term.set_mask(0);
    for (double& value : term.operand(name_of(learner)).data) value = not_a_number;
    const OpCase model = term.model();
    for (const Numbers& found : {in_double(model, learner), compiled_for(*target, model, learner)}) {
      CHECK(found.value == 0);
      for (double slope : found.gradient.data) CHECK(slope == 0);
    }
    ++compared;
  });
  CHECK(compared > 100);
}

}  // namespace weir
