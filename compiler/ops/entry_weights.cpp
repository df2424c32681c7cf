// What each entry of an unreduced loss counts, and what their sum is divided by: masks, sample and class weights and
// ignored classes, for all losses and metrics at once.
//
//   weights = m·s·c, 0 where m = 0, the class is ignored, or the row is not real
//   denominator = D, or 0 where no entry has m = 1
//
// D by `divide_by`: entries, their number, or Σ m where a mask or ignore_class is given (Keras' mean); rows and one,
// the number of samples and 1 (batch_mean, sum); sample_weights, Σ m·s (Keras' mean_with_sample_weight); class_weights,
// Σ m·c (PyTorch's mean); weights, Σ m·s·c (Keras' metrics). The class of a row of numbers is the place of its first
// largest, of one number by itself the nearest integer. A class outside 0 … C - 1 that is not ignored counts 1: the
// loss behind it is NaN there. Where m = 0 neither the target nor the sample weight is read.
#include <cmath>
#include <limits>

#include "compiler/ir/op.hpp"

namespace weir::ops {
namespace {

Dims entries_of(const Attributes& attributes) { return attributes.integers("entries"); }

void check_shape(InferContext& c, std::string_view name) {
  if (!c.has(name)) return;
  const TensorType& type = c.operand(name);
  const TensorType whole = batched(entries_of(c.attributes()), type.dtype), sample = batched({}, type.dtype);
  if (type == whole || type == sample) return;
  const std::string expected = to_string(sample) + (whole == sample ? "" : " or " + to_string(whole));
  c.fail(1, "the " + std::string(name) + " is " + to_string(type) + ", but it must be " + expected +
                ", one number a sample or one for each entry of the unreduced loss");
}

void infer(InferContext& c) {
  check_shape(c, "sample_weight");
  check_shape(c, "mask");
  c.result("weights", batched(entries_of(c.attributes())));
  c.result("denominator", scalar_type());
}

/// The part of a kernel's rows and columns that an operand has: one number a sample, or one an entry.
Dims spread_of(const Shape& shape) { return {shape.dims.front(), element_count(shape.dims) / shape.dims.front()}; }

void lower(LowerContext& c) {
  const Attributes& attributes = c.attributes();
  KernelBuilder kernel = c.kernel("entry_weights");
  for (const std::string_view name : {"target", "sample_weight", "mask"})
    if (c.has(name)) kernel.read_as(name, name, spread_of(c.operand(name).shape), "nc");
  kernel.read("rows", "rows");
  kernel.write_as("weights", "weights", spread_of(c.result("weights").shape), "nc").write("denominator", "denominator");
  kernel.set("divide_by", attributes.word("divide_by"));
  for (const std::string name : {"class_weight", "ignore_class", "argmax"})
    for (const auto& [key, value] : attributes)
      if (key == name) kernel.set(name, value);
  kernel.emit();
}

/// The entries of the node, in double.
class Weights {
 public:
  explicit Weights(ReferenceContext& c)
      : attributes_(c.attributes()),
        target_(c.has("target") ? &c.operand("target") : nullptr),
        sample_weight_(c.has("sample_weight") ? &c.operand("sample_weight") : nullptr),
        mask_(c.has("mask") ? &c.operand("mask") : nullptr),
        count_(c.result("weights").count()) {}

  double mask(std::int64_t entry) const {
    if (mask_ && of(*mask_, entry) == 0) return 0;
    return is_ignored(entry) ? 0 : 1;
  }
  double sample_weight(std::int64_t entry) const { return sample_weight_ ? of(*sample_weight_, entry) : 1; }
  double class_weight(std::int64_t entry) const {
    if (!attributes_.has("class_weight")) return 1;
    const std::vector<double>& weights = attributes_.numbers("class_weight");
    const double chosen = class_of(entry);
    return chosen >= 0 && chosen < static_cast<double>(weights.size()) ? weights[static_cast<std::size_t>(chosen)] : 1;
  }

 private:
  /// The operand may have fewer entries: each then stands for several.
  double of(const Array& array, std::int64_t entry) const { return array[entry / (count_ / array.count())]; }
  bool is_ignored(std::int64_t entry) const {
    return attributes_.has("ignore_class") &&
           class_of(entry) == static_cast<double>(attributes_.integer("ignore_class"));
  }
  double class_of(std::int64_t entry) const {
    const std::int64_t size = target_->count() / count_;
    if (!attributes_.has("argmax")) return std::nearbyint((*target_)[entry]);
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < size; ++i)
      if ((*target_)[entry * size + i] > (*target_)[entry * size + best]) best = i;
    return static_cast<double>(best);
  }

  const Attributes& attributes_;
  const Array *target_, *sample_weight_, *mask_;
  std::int64_t count_;
};

double denominator_of(ReferenceContext& c, const Weights& weights, std::int64_t real) {
  const std::string& word = c.attributes().word("divide_by");
  const bool partly = c.has("mask") || c.attributes().has("ignore_class");
  double valid = 0, sum = 0;
  for (std::int64_t i = 0; i < real; ++i) {
    if (weights.mask(i) == 0) continue;
    valid += 1;
    sum += (word == "class_weights" ? 1 : weights.sample_weight(i)) *
           (word == "sample_weights" ? 1 : weights.class_weight(i));
  }
  if (valid == 0) return 0;
  if (word == "entries") return partly ? valid : static_cast<double>(real);
  return word == "rows" ? c.scalar("rows") : word == "one" ? 1 : sum;
}

void reference(ReferenceContext& c) {
  const Weights weights(c);
  Array& result = c.result("weights");
  const std::int64_t real = static_cast<std::int64_t>(c.scalar("rows")) * (result.count() / c.batch());
  for (std::int64_t i = 0; i < result.count(); ++i) {
    const bool counts = i < real && weights.mask(i) != 0;
    result[i] = counts ? weights.sample_weight(i) * weights.class_weight(i) : 0;
  }
  c.result("denominator")[0] = denominator_of(c, weights, real);
}

double positive(std::size_t operand, std::int64_t i) {
  if (operand == 0) return static_cast<double>((i * 2) % 3);
  return operand == 1 ? 0.25 * static_cast<double>(1 + i % 5) : static_cast<double>(i % 2);
}
double none_valid(std::size_t operand, std::int64_t i) { return operand == 2 ? 0 : positive(operand, i); }

}  // namespace

extern const OpDef entry_weights;
const OpDef entry_weights{
    .name = "entry_weights",
    .summary = "what each entry of an unreduced loss counts, and what their sum is divided by",
    .equation = "weights = mask · sample_weight · class_weight[class of target]",
    .role = Role::internal,
    .operands = {{"target", OperandKind::target, true},
                 {"sample_weight", OperandKind::target, true},
                 {"mask", OperandKind::target, true},
                 {"rows", OperandKind::scalar}},
    .results = {"weights", "denominator"},
    .attributes = {{.name = "entries", .type = AttributeType::integers, .doc = "of the unreduced loss, one sample"},
                   {.name = "divide_by",
                    .type = AttributeType::word,
                    .doc = "what the denominator is",
                    .words = {"entries", "rows", "one", "sample_weights", "class_weights", "weights"}},
                   {.name = "class_weight", .type = AttributeType::numbers, .doc = "C numbers", .optional = true},
                   {.name = "ignore_class", .type = AttributeType::integer, .doc = "a class", .optional = true},
                   {.name = "argmax",
                    .type = AttributeType::flag,
                    .doc = "the target has a class axis, and the class is the place of its largest entry",
                    .optional = true}},
    .constraints = {"C1: sample weights and masks are one number a sample, or one for each entry"},
    .infer = infer,
    .no_gradient = true,
    .lower = lower,
    .reference = reference,
    .examples = {{.name = "classes",
                  .inputs = {batched({4}, DType::i32), batched({}), batched({4})},
                  .attributes = {{"entries", Dims{4}},
                                 {"divide_by", std::string("entries")},
                                 {"class_weight", std::vector<double>{0.5, 2, 1}},
                                 {"ignore_class", std::int64_t{0}}},
                  .fill = positive},
                 {.name = "rows_of_classes",
                  .inputs = {batched({2, 3}), batched({2}), batched({}, DType::i32)},
                  .attributes = {{"entries", Dims{2}},
                                 {"divide_by", std::string("class_weights")},
                                 {"class_weight", std::vector<double>{0.5, 2, 1}},
                                 {"argmax", true}},
                  .fill = positive},
                 {.name = "none_valid",
                  .inputs = {batched({}, DType::i32), batched({}), batched({})},
                  .attributes = {{"entries", Dims{}}, {"divide_by", std::string("weights")}},
                  .fill = none_valid}},
};

}  // namespace weir::ops
