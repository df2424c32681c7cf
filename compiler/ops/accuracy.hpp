// Accuracy over rows of classes: a hit where the first largest prediction stands at the target's class (the first
// largest target, where the target is no class). Shared by categorical_accuracy and its sparse sister.
#pragma once

#include "compiler/ops/loss.hpp"

namespace weir::ops {

template <bool sparse>
void accuracy_reference(ReferenceContext& c) {
  const LossView view(c);
  const auto is_hit = [&](std::int64_t row) {
    std::int64_t predicted = 0, wanted = 0;
    for (std::int64_t entry = 1; entry < view.classes; ++entry) {
      const std::int64_t start = row * view.classes;
      if (view.prediction[start + entry] > view.prediction[start + predicted]) predicted = entry;
      if (view.target_of(row, entry, sparse) > view.target_of(row, wanted, sparse)) wanted = entry;
    }
    return predicted == wanted &&
           (!sparse || view.target_of(row, wanted, sparse) == 1);  // a class outside is never hit
  };
  double hits = 0;
  for (std::int64_t row = 0; row < view.real_entries() / view.classes; ++row)
    if (const double weight = view.weight_of(row * view.classes); weight != 0) hits += is_hit(row) ? weight : 0;
  c.result("value")[0] = reduced(hits, denominator(view.attributes, view.sample / view.classes, 1), view);
}

template <bool sparse>
void lower_accuracy(LowerContext& c) {
  KernelBuilder kernel = c.kernel("accuracy");
  const Dims dims = class_rows_of(c.operand("prediction").shape);
  if (c.has("target")) {
    read_class_rows(c, kernel, sparse);
  } else {  // the first of equal targets is class 0
    kernel.read_as("prediction", "prediction", dims, "nwc").read("rows", "rows");
    kernel.set("class", sparse ? static_cast<std::int64_t>(c.attributes().number("constant")) : std::int64_t{0});
  }
  kernel.write("value", "value");
  set_denominator(c, kernel, denominator(c.attributes(), dims[1], 1));
  kernel.emit();
}

}  // namespace weir::ops
