// value = Σ ℓ(row) / D over the real rows, for the losses of row_formulas.hpp. Sums in double over fixed blocks of
// rows.
#include "runtime/kernel.hpp"
#include "runtime/kernels/row_formulas.hpp"

namespace weir::kernels {
namespace {

template <class Formula>
class RowsValue final : public Executable {
 public:
  RowsValue(const Recipe& recipe, std::span<void* const> buffers)
      : formula_(recipe.attributes),
        data_(recipe, buffers),
        reduction_(recipe, buffers),
        rows_(pointer<const double>(recipe, buffers, "rows")),
        value_(pointer<double>(recipe, buffers, "value")),
        threads_(recipe.threads),
        sum_(data_.batch * data_.rows, data_.rows_in_block()) {}

  void run() override {
    const std::int64_t rows = Reduction::real_rows(*rows_, data_.batch);
    const double sum = sum_(rows * data_.rows, threads_, [&](std::int64_t begin, std::int64_t end) {
      double part = 0;
      for (std::int64_t row = begin; row < end; ++row)
        if (const double weight = reduction_.weight(row); weight != 0) part += weight * of_row(row);
      return part;
    });
    *value_ = reduction_.value(sum, rows);
  }

 private:
  double of_row(std::int64_t row) const {
    return data_.is_outside(row) ? std::numeric_limits<double>::quiet_NaN() : formula_.value(data_.row(row));
  }

  Formula formula_;
  LossRows data_;
  Reduction reduction_;
  const double* rows_;
  double* value_;
  int threads_;
  BlockSum sum_;
};

void validate(const Recipe& recipe) { check_loss_rows(recipe, {{"value", Access::write, DType::f64}}); }

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return with_formula<RowFormulas>(recipe, [&]<class Formula>() -> std::unique_ptr<Executable> {
    return std::make_unique<RowsValue<Formula>>(recipe, buffers);
  });
}

}  // namespace

extern const KernelDef loss_rows;
const KernelDef loss_rows{
    .name = "loss_rows",
    .summary = "loss over rows of classes",
    .validate = validate,
    .create = create,
};

}  // namespace weir::kernels
