#include "compiler/cli/program.hpp"

#include <algorithm>
#include <new>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/flags.hpp"
#include "compiler/cli/model.hpp"
#include "runtime/error.hpp"

namespace weir::cli {
namespace {

[[noreturn]] void misuse(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? "" : fmt::format(", did you mean {}?", near);
}

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* each : program.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(each->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// "weir weights init"
std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : app.get_name();
}

/// The word before "=": "--epoch=3" is the flag "--epoch".
std::string flag_of(const std::string& word) { return word.substr(0, word.find('=')); }

void refuse_unknown_flags(const CLI::App& app, const std::vector<std::string>& rest) {
  for (const std::string& word : rest) {
    if (!word.starts_with('-') || word == "-") continue;
    const std::string flag = flag_of(word);
    if (is_later_flag(flag)) misuse(fmt::format("{} is not supported yet", flag));
    misuse(fmt::format("{} has no flag {}{}", full_name(app), flag, suggestion(flag, flag_names(app))));
  }
}

void refuse_absent(const Command& command) {
  const std::string name = full_name(*command.app);
  for (const CLI::Option* option : command.required)
    if (option->count() == 0)
      misuse(fmt::format("{} needs {}; see {} --help", name, option->get_name(option->get_positional()), name));
}

const CLI::App& innermost(const CLI::App& program) {
  const auto chosen = program.get_subcommands();
  return chosen.empty() ? program : innermost(*chosen.front());
}

/// "weir trian", "weir", "weir weights".
[[noreturn]] void refuse_command(const CLI::App& app, const std::vector<std::string>& rest) {
  const std::vector<std::string> names = command_names(app);
  const auto word =
      std::find_if(rest.begin(), rest.end(), [](const std::string& each) { return !each.starts_with('-'); });
  if (word == rest.end()) misuse(fmt::format("a command is missing: {}; see --help", fmt::join(names, ", ")));
  if (is_later_command(*word)) misuse(fmt::format("{} {} is not supported yet", full_name(app), *word));
  misuse(fmt::format("there is no command {} {}{}", full_name(app), *word, suggestion(*word, names)));
}

/// Flags first, because the word behind an unknown one has landed where the file should be.
int run_chosen(const CLI::App& program, const std::vector<Command>& commands, const Console& console) {
  const CLI::App& app = innermost(program);
  const std::vector<std::string> rest = program.remaining(true);
  const auto command =
      std::find_if(commands.begin(), commands.end(), [&](const Command& each) { return each.app == &app; });
  if (command == commands.end()) refuse_command(app, rest);
  refuse_unknown_flags(app, rest);
  refuse_absent(*command);
  if (!rest.empty()) misuse(fmt::format("{}: unexpected argument {}", full_name(app), rest.front()));
  return command->run(console);
}

std::string help_of(const CLI::App& app) { return app.help(app.get_parent() ? full_name(*app.get_parent()) : ""); }

/// --help and --version are "errors" of CLI11 with exit code 0.
int parse_failed(const CLI::App& program, const CLI::ParseError& error, const Console& console) {
  if (error.get_exit_code() == 0) {
    const auto version = dynamic_cast<const CLI::CallForVersion*>(&error);
    console.out << (version ? fmt::format("weir {}\n", WEIR_VERSION) : help_of(innermost(program)));
    return done;
  }
  std::string message = error.what();
  if (message.find(": ") == 0) message.erase(0, 2);
  console.err << "weir: " << message << '\n';
  return wrong_usage;
}

int parse_and_run(const std::vector<std::string>& arguments, Console& console) {
  CLI::App program("weir compiles and trains networks that are described in one JSON file.", "weir");
  program.allow_extras();
  program.require_subcommand(0, 1);
  program.set_version_flag("--version", WEIR_VERSION);
  program.add_flag("--json", console.json, "the result as JSON");
  const std::vector<Command> commands = add_commands(program, console.json);
  try {
    program.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return parse_failed(program, error, console);
  }
  return run_chosen(program, commands, console);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments, Console console) {
  try {
    return parse_and_run(arguments, console);
  } catch (const SpecRefused& error) {
    return exit_code(error.code());
  } catch (const Error& error) {
    console.err << "weir: " << error.what() << '\n';
    return exit_code(error.code());
  } catch (const std::bad_alloc&) {
    console.err << "weir: out of memory\n";
    return exit_code(ErrorCode::resource_exhausted);
  } catch (const std::exception& error) {
    console.err << "weir: a mistake of ours: " << error.what() << '\n';
    return mistake_of_ours;
  }
}

}  // namespace weir::cli
