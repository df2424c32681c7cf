// Inputs and parameters to verify gradients at, made from the input types and the seed alone: a general point, where no
// bias is 0, no scale is 1 and no input so small that only biases count.
#pragma once

#include <map>
#include <string>

#include "compiler/ir/op.hpp"
#include "compiler/verify.hpp"
#include "runtime/session.hpp"

namespace weir {

struct MadeUpBatch {
  std::map<std::string, Tensor> inputs;      ///< every one of the specification
  std::map<std::string, Tensor> parameters;  ///< and statistics

  Feed feed() const { return {inputs.begin(), inputs.end()}; }  ///< valid as long as the batch
};

/// f32 inputs: uniform in [0, 1), stretched where a layer without parameters scales it and nothing else reads it, until
/// what comes out spans 1. i32 inputs: classes below the bound that the plans give, 0 and 1 where there is none. Masks:
/// 0 and 1, some of them 1.
/// Parameters: their initial values; constant ones with something small added, of both signs for parameters, positive
/// for statistics.
MadeUpBatch make_up_batch(const VerifySubjects& subjects);

Array as_array(const Tensor& tensor);

}  // namespace weir
