// What this machine can do at most, measured once and kept in a file: the same limits from one run to the next, and no
// half second of measuring in each.
#pragma once

#include <functional>
#include <string>

#include "compiler/cli/console.hpp"
#include "runtime/machine.hpp"

namespace weir::cli {

/// As kept for this CPU, these instructions and so many threads in $XDG_CACHE_HOME/weir/machines.json (else under
/// ~/.cache); measured and kept where nothing is, or `anew`. A file that cannot be read or written costs a warning.
Machine known_machine(int threads, const std::string& instructions, bool anew, const Console& console,
                      const std::function<Machine(int threads)>& measure = measure_machine);

}  // namespace weir::cli
