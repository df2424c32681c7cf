// The one oneDNN engine of the process, and its errors in our words.
#pragma once

#include <string>

#include <oneapi/dnnl/dnnl.hpp>

#include "runtime/error.hpp"

namespace weir {

/// The CPU engine, made at the first call. Thread-safe.
const dnnl::engine& cpu_engine();

std::string library_version();  ///< "oneDNN 3.2.0"
std::string instruction_set();  ///< "avx512_core_bf16", "avx2", …: what the library uses here
bool prefers_blocked_images();  ///< AVX2 without AVX-512: direct kernels are the best ones for training
bool has_widest_vectors();      ///< AVX-512

ErrorCode to_code(dnnl_status_t status);

}  // namespace weir
