// weights = mask · sample_weight · class_weight[class] for each entry of an unreduced loss, 0 where the mask holds 0,
// the class is ignored or the row is not real; denominator by the setting "divide_by", 0 where no entry is valid:
//   entries: their number, Σ m where there is a mask or an ignored class;  rows, one: the real rows, 1;
//   sample_weights: Σ m·s;  class_weights: Σ m·c;  weights: Σ m·s·c
// One thread: a number an entry, little beside the loss that reads it, and the sums are always in one order.
#include <algorithm>
#include <cmath>

#include "runtime/kernel.hpp"
#include "runtime/kernels/reduction.hpp"

namespace weir::kernels {
namespace {

/// f32 or i32 [batch, n], where n divides the entries of a sample: each number stands for several entries, or several
/// numbers for one.
struct Column {
  Column(const Recipe& recipe, std::span<void* const> buffers, std::string_view role, std::int64_t entries) {
    const RecipeOperand* operand = recipe.find(role);
    if (!operand) return;
    if (operand->dtype == DType::i32)
      integers = pointer<const std::int32_t>(recipe, buffers, role);
    else
      floats = pointer<const float>(recipe, buffers, role);
    covered = std::max<std::int64_t>(1, entries / operand->shape.dims[1]);
  }
  bool is_there() const { return floats || integers; }
  double number(std::int64_t i) const { return floats ? floats[i] : integers[i]; }
  /// Of an entry of the unreduced loss.
  double of(std::int64_t entry) const { return is_there() ? number(entry / covered) : 1; }

  const float* floats = nullptr;
  const std::int32_t* integers = nullptr;
  std::int64_t covered = 1;
};

enum class DivideBy { entries, rows, one, sample_weights, class_weights, weights };
constexpr std::string_view divide_words[] = {"entries", "rows", "one", "sample_weights", "class_weights", "weights"};

DivideBy divide_by(const Attributes& attributes) {
  const auto* const found = std::find(std::begin(divide_words), std::end(divide_words), attributes.word("divide_by"));
  return static_cast<DivideBy>(found - std::begin(divide_words));
}

class EntryWeights final : public Executable {
 public:
  EntryWeights(const Recipe& recipe, std::span<void* const> buffers)
      : batch_(recipe.operand("weights").shape.dims[0]),
        entries_(recipe.operand("weights").shape.dims[1]),
        target_(recipe, buffers, "target", entries_),
        sample_weight_(recipe, buffers, "sample_weight", entries_),
        mask_(recipe, buffers, "mask", entries_),
        size_(target_.is_there() ? recipe.operand("target").shape.dims[1] / entries_ : 1),
        by_(divide_by(recipe.attributes)),
        argmax_(recipe.attributes.has("argmax") && recipe.attributes.flag("argmax")),
        ignores_(recipe.attributes.has("ignore_class")),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        weights_(pointer<float>(recipe, buffers, "weights")),
        denominator_(pointer<double>(recipe, buffers, "denominator")) {
    if (ignores_) ignored_ = static_cast<double>(recipe.attributes.integer("ignore_class"));
    if (recipe.attributes.has("class_weight")) class_weights_ = recipe.attributes.numbers("class_weight");
  }

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, batch_), real = rows * entries_;
    double valid = 0, sum = 0;
    for (std::int64_t i = 0; i < real; ++i) {
      weights_[i] = 0;
      if (!is_valid(i)) continue;
      const double s = sample_weight_.of(i), c = class_weight(i);
      weights_[i] = static_cast<float>(s * c);
      valid += 1;
      sum += (by_ == DivideBy::class_weights ? 1 : s) * (by_ == DivideBy::sample_weights ? 1 : c);
    }
    std::fill(weights_ + real, weights_ + batch_ * entries_, 0.0f);
    *denominator_ = valid == 0 ? 0 : denominator(rows, valid, sum);
  }

 private:
  double denominator(std::int64_t rows, double valid, double sum) const {
    switch (by_) {
      case DivideBy::entries:
        return mask_.is_there() || ignores_ ? valid : static_cast<double>(rows * entries_);
      case DivideBy::rows:
        return static_cast<double>(rows);
      case DivideBy::one:
        return 1;
      default:
        return sum;
    }
  }

  bool is_valid(std::int64_t entry) const { return mask_.of(entry) != 0 && !(ignores_ && class_of(entry) == ignored_); }

  double class_weight(std::int64_t entry) const {
    if (class_weights_.empty()) return 1;
    const double chosen = class_of(entry);
    const bool inside = chosen >= 0 && chosen < static_cast<double>(class_weights_.size());
    return inside ? class_weights_[static_cast<std::size_t>(chosen)] : 1;
  }

  double class_of(std::int64_t entry) const {
    if (!argmax_) return std::nearbyint(target_.number(entry));
    std::int64_t best = entry * size_;
    for (std::int64_t i = best + 1; i < (entry + 1) * size_; ++i)
      if (target_.number(i) > target_.number(best)) best = i;
    return static_cast<double>(best - entry * size_);
  }

  std::int64_t batch_, entries_;
  Column target_, sample_weight_, mask_;
  std::int64_t size_;  ///< numbers of the target for one entry
  DivideBy by_;
  bool argmax_, ignores_;
  double ignored_ = 0;
  std::vector<double> class_weights_;
  const double* rows_;
  float* weights_;
  double* denominator_;
};

void check_column(const Recipe& recipe, std::string_view role) {
  const RecipeOperand* operand = recipe.find(role);
  if (!operand) return;
  const Dims &dims = operand->shape.dims, &weights = recipe.operand("weights").shape.dims;
  check_dense(recipe, role);
  if (dims.size() != 2 || dims[0] != weights[0] || (dims[1] != weights[1] && dims[1] != 1))
    reject(recipe, std::string(role) + " must be [batch, 1] or have the extents of the weights");
}

void check_target(const Recipe& recipe) {
  const RecipeOperand* target = recipe.find("target");
  const bool needed = recipe.attributes.has("class_weight") || recipe.attributes.has("ignore_class");
  if (needed && !target) reject(recipe, "class weights and an ignored class need a target");
  if (!target) return;
  check_dense(recipe, "target");
  const Dims &dims = target->shape.dims, &weights = recipe.operand("weights").shape.dims;
  const bool argmax = recipe.attributes.has("argmax") && recipe.attributes.flag("argmax");
  if (dims.size() != 2 || dims[0] != weights[0] || dims[1] % weights[1] != 0 || (!argmax && dims[1] != weights[1]))
    reject(recipe, "the target must have a class, or with argmax a row, for each weight");
}

void validate(const Recipe& recipe) {
  std::vector<OperandRule> rules{
      {"rows", Access::read, DType::f64}, {"weights", Access::write}, {"denominator", Access::write, DType::f64}};
  for (const std::string_view role : {"target", "sample_weight", "mask"})
    if (const RecipeOperand* operand = recipe.find(role))
      rules.push_back({role, Access::read, operand->dtype == DType::i32 ? DType::i32 : DType::f32});
  check_operands(recipe, rules);
  check_dense(recipe, "weights");
  if (recipe.operand("weights").shape.dims.size() != 2) reject(recipe, "the weights must be [batch, entries]");
  check_column(recipe, "sample_weight");
  check_column(recipe, "mask");
  check_target(recipe);
  word_setting(recipe, "divide_by", {"entries", "rows", "one", "sample_weights", "class_weights", "weights"});
  std::size_t settings = 1;
  for (const std::string_view name : {"class_weight", "ignore_class", "argmax"})
    settings += recipe.attributes.has(name) ? 1 : 0;
  if (static_cast<std::size_t>(std::distance(recipe.attributes.begin(), recipe.attributes.end())) != settings)
    reject(recipe, "it has a setting that entry weights do not take");
  if (recipe.attributes.has("ignore_class")) integer_setting(recipe, "ignore_class", -(1LL << 40), 1LL << 40);
  if (recipe.attributes.has("argmax")) flag_setting(recipe, "argmax");
  if (recipe.attributes.has("class_weight")) numbers_setting(recipe, "class_weight", 0, 3e38);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<EntryWeights>(recipe, buffers);
}

}  // namespace

extern const KernelDef entry_weights;
const KernelDef entry_weights{
    .name = "entry_weights",
    .summary = "what each entry of an unreduced loss counts, and what their sum is divided by",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
