// value = (rows whose largest prediction is at the target's class) / D over the real rows; of equal largest entries the
// first counts.
#include "runtime/kernel.hpp"
#include "runtime/kernels/class_rows.hpp"

namespace weir::kernels {
namespace {

std::int64_t first_maximum(const float* values, std::int64_t count) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < count; ++i)
    if (values[i] > values[best]) best = i;
  return best;
}

class Accuracy final : public Executable {
 public:
  Accuracy(const Recipe& recipe, std::span<void* const> buffers)
      : targets_(recipe, buffers),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        value_(pointer<double>(recipe, buffers, "value")),
        threads_(recipe.threads),
        sum_(targets_.batch * targets_.rows, targets_.rows_in_block()) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, targets_.batch);
    const double hits = sum_(rows * targets_.rows, threads_, [&](std::int64_t begin, std::int64_t end) {
      double count = 0;
      for (std::int64_t row = begin; row < end; ++row)
        if (const double weight = reduction_.weight(row); weight != 0) count += is_hit(row) ? weight : 0;
      return count;
    });
    *value_ = reduction_.value(hits, rows);
  }

 private:
  bool is_hit(std::int64_t row) const {
    const std::int64_t start = row * targets_.classes;
    const std::int64_t wanted =
        targets_.target ? first_maximum(targets_.target + start, targets_.classes) : targets_.class_of(row);
    return first_maximum(targets_.prediction + start, targets_.classes) == wanted;
  }

  ClassRows targets_;
  Reduction reduction_;
  const double* rows_;
  double* value_;
  int threads_;
  BlockSum sum_;
};

void validate(const Recipe& recipe) {
  check_class_rows(recipe, {{"value", Access::write, DType::f64}});
  if (recipe.find("target")) return check_attribute_names(recipe, {"divisor", "by_rows"});
  check_attribute_names(recipe, {"divisor", "by_rows", "class"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Accuracy>(recipe, buffers);
}

}  // namespace

extern const KernelDef accuracy;
const KernelDef accuracy{
    .name = "accuracy",
    .summary = "share of rows whose largest entry is at the target's class",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
