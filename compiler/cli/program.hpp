// The program without its process: arguments go in, an exit code comes out. main.cpp adds the process; tests call this.
#pragma once

#include <string>
#include <vector>

#include "compiler/cli/console.hpp"

namespace weir::cli {

/// arguments: without the program's name. Never throws: every error is told on console.err and becomes an exit code.
int run_program(const std::vector<std::string>& arguments, Console console);

}  // namespace weir::cli
