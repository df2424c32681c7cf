// How the result of weir verify is told.
#pragma once

#include "compiler/cli/console.hpp"
#include "compiler/verify.hpp"

namespace weir::cli {

/// The table, or one JSON document, on console.out; what does not hold on console.err. Returns the exit code.
int tell(const VerifyReport& report, const Console& console);

}  // namespace weir::cli
