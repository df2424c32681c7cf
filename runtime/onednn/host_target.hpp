// The machine at hand as a Target; tests choose the activation layout.
#pragma once

#include <memory>

#include "runtime/target.hpp"

namespace weir {

/// by_machine: with AVX2 but not AVX-512, images are nChw8c where channels are a multiple of 8, because there the
/// direct kernels for blocked layouts train fastest; nhwc otherwise. A convolution whose two images do not share the
/// kind has only reference kernels.
enum class ActivationLayout { by_machine, nhwc, blocked_8, blocked_16 };

std::unique_ptr<Target> host_target(int threads, ActivationLayout activations);

}  // namespace weir
