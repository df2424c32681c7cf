// Losses over rows of classes: a file gives ℓ and its slopes for one row; the kernel loss_rows has the same formula.
// Rows, smoothing and D are those of the crossentropies.
#pragma once

#include "compiler/ops/crossentropy.hpp"

namespace weir::ops {

/// x the prediction, t the target as numbers, smoothed where the op has that key.
using LossRow = CrossentropyRow;
using RowValue = double (*)(const LossRow& row, const Attributes& attributes);
using RowSlopes = std::vector<double> (*)(const LossRow& row, const Attributes& attributes);

template <RowValue value>
void rows_reference(ReferenceContext& c) {
  const LossView view(c);
  double sum = 0;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row)
    if (const double weight = view.weight_of(row * view.classes); weight != 0)
      sum += weight * value(crossentropy_row(view, row, false), view.attributes);
  c.result("value")[0] = reduced(sum, class_rows_denominator(view), view);
}

template <RowSlopes slopes>
void rows_gradient_reference(ReferenceContext& c) {
  const LossView view(c);
  const double factor = gradient_factor(c, class_rows_denominator(view), view);
  Array& gradient = c.result("gradient");
  std::fill(gradient.data.begin(), gradient.data.end(), 0.0);
  if (factor == 0) return;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row) {
    const double weight = view.weight_of(row * view.classes);
    if (weight == 0) continue;
    const std::vector<double> own = slopes(crossentropy_row(view, row, false), view.attributes);
    for (std::int64_t entry = 0; entry < view.classes; ++entry)
      gradient[row * view.classes + entry] = own[static_cast<std::size_t>(entry)] * factor * weight;
  }
}

/// loss_rows or loss_rows_gradient with the formula's own settings.
inline void lower_rows(LowerContext& c, std::string_view kernel_formula,
                       std::initializer_list<std::string_view> settings = {}) {
  const bool gradient = c.node().op->results[0] == "gradient";
  const Dims dims = class_rows_of(c.operand("prediction").shape);
  KernelBuilder kernel = c.kernel(gradient ? "loss_rows_gradient" : "loss_rows");
  read_class_rows(c, kernel, false);
  if (gradient)
    kernel.read("weight", "weight").write_as("gradient", "gradient", dims, "nwc");
  else
    kernel.write("value", "value");
  kernel.set("loss", std::string(kernel_formula));
  for (std::string_view name : settings) kernel.set(std::string(name), c.attributes().number(name));
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}

}  // namespace weir::ops
