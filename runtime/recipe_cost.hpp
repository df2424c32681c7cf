// What a step costs by its recipe alone: arithmetic and memory traffic, not time.
#pragma once

#include "runtime/plan.hpp"

namespace weir {

struct Cost {
  double flops = 0;         ///< a multiply-add counts two; an estimate of one an entry where there is no formula
  std::uint64_t bytes = 0;  ///< each operand once for a read, once for a write, with padding; caches are not modelled
  std::size_t steps = 0;
  Cost& operator+=(const Cost& other);
};

/// Layouts may be open.
double flops_of(const Recipe& recipe);

/// A convolution or a product of matrices: work that arithmetic limits, not memory.
bool is_product(const Recipe& recipe);

/// Copies into another layout, the library's or ours.
bool is_reorder(const Recipe& recipe);

/// Of one step that computes by this recipe. Throws what byte_count throws.
Cost cost_of(const Recipe& recipe);
/// Of one run of all of the program's steps: refresh, compute and commit.
Cost cost_of(const Plan& plan, const Program& program);

}  // namespace weir
