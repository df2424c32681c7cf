// Which flags each command takes, as CLI11 wants to be told.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "compiler/cli/console.hpp"

namespace weir::cli {

/// A command on the command line. CLI11 checks no file and no number of arguments: an unknown flag must be told first,
/// because the word behind it lands where the file should be.
struct Command {
  CLI::App* app = nullptr;
  std::vector<CLI::Option*> required;  ///< positionals and flags, told in this order where absent
  std::function<int(const Console&)> run;
};

/// Words of the specification's command line that are known and not built yet.
bool is_later_command(const std::string& word);
bool is_later_flag(const std::string& flag);

/// Adds every command to the program. The result stays valid as long as `program`.
std::vector<Command> add_commands(CLI::App& program, bool& json);

}  // namespace weir::cli
