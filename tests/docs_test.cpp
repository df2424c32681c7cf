// The documentation says what is so: commands and flags are those of the program, code stands in a source that is
// compiled, maps of folders are complete, links lead somewhere. docs/spec.md has a test of its own.
#include <map>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "compiler/cli/exit_codes.hpp"
#include "runtime/kernel.hpp"
#include "tests/command_line.hpp"
#include "tests/markdown.hpp"

using namespace weir;
using namespace weir::markdown;

namespace {

using Json = nlohmann::ordered_json;

std::string kernels_text() {
  std::string text = "| kernel | computes |\n|---|---|\n";
  for (const KernelDef* kernel : kernels_table()) text += fmt::format("| `{}` | {} |\n", kernel->name, kernel->summary);
  return text;
}

// ---- The command line

using command_line::Workspace;

std::string help_of(std::vector<std::string> command) {
  command.emplace_back("--help");
  const auto outcome = command_line::run(command);
  REQUIRE(outcome.code == 0);
  return outcome.out;
}

std::set<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), expression), end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

std::set<std::string> flags_in(const std::string& text) { return matches(text, "(?:^|[^-A-Za-z])(--[a-z][a-z-]*)"); }

/// "check", "weights init", … : everything that the program can be asked to do.
std::set<std::string> commands() {
  const auto under = [](const std::vector<std::string>& group) {
    return matches(
        section("# \n" + std::regex_replace(help_of(group), std::regex("Subcommands:"), "## list"), "## list"),
        "\n? {2}([a-z]+) ");
  };
  std::set<std::string> names;
  for (const std::string& name : under({})) {
    const std::set<std::string> inner = under({name});
    if (inner.empty()) names.insert(name);
    for (const std::string& each : inner) names.insert(name + " " + each);
  }
  return names;
}

/// The command that a line such as "weir weights init SPEC" calls; "" where it calls none of the program's.
std::string command_of(const std::string& line, const std::set<std::string>& known) {
  const auto words = words_of(line);
  if (words.size() > 2 && known.contains(words[1] + " " + words[2])) return words[1] + " " + words[2];
  return words.size() > 1 && known.contains(words[1]) ? words[1] : "";
}

std::vector<std::string> calls_in(const std::string& file) {
  std::vector<std::string> calls;
  for (const Block& block : blocks(file)) {
    if (!block.info.empty() && block.info[0] == "text") continue;
    std::istringstream lines(block.text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("$ ")) line = line.substr(2);
      if (line.starts_with("weir ")) calls.push_back(line);
    }
  }
  return calls;
}

std::vector<std::string> keys_of(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

std::string trimmed(const std::string& line) {
  const std::size_t begin = line.find_first_not_of(' ');
  return begin == std::string::npos ? "" : line.substr(begin);
}

std::vector<std::string> trimmed_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(trimmed(line));
  return lines;
}

/// Whether the lines stand in the source, one after the other; a line "// …" stands for any number of lines.
bool stands_in(const std::vector<std::string>& quoted, const std::vector<std::string>& source) {
  auto from = source.begin();
  for (auto begin = quoted.begin(); begin != quoted.end();) {
    const auto end = std::find(begin, quoted.end(), "// …");
    from = std::search(from, source.end(), begin, end);
    if (from == source.end() && begin != end) return false;
    from += end - begin;
    begin = end == quoted.end() ? end : end + 1;
  }
  return true;
}

}  // namespace

TEST_CASE("every command has a section with every flag, and no section has a flag that its command lacks") {
  const std::string text = read(root() / "docs/cli.md");
  const std::string shared = section(text, "## Flags of several commands");
  CHECK(!shared.empty());
  std::set<std::string> all;
  for (const std::string& command : commands()) {
    CAPTURE(command);
    const std::string own = section(text, "### weir " + command);
    CHECK(!own.empty());
    const std::set<std::string> flags = flags_in(help_of(words_of(command))), told = flags_in(own);
    for (const std::string& flag : flags)
      CHECK_MESSAGE((flag == "--help" || told.contains(flag) || flags_in(shared).contains(flag)), flag);
    for (const std::string& flag : told) CHECK_MESSAGE(flags.contains(flag), flag);
    all.insert(flags.begin(), flags.end());
  }
  for (const std::string& flag : flags_in(shared)) CHECK_MESSAGE(all.contains(flag), flag);
}

TEST_CASE("every section and every call of the program in the documentation names a command, and its flags") {
  const std::set<std::string> known = commands();
  for (const std::string& heading : matches(read(root() / "docs/cli.md"), "\n### weir ([^\n]+)\n"))
    CHECK_MESSAGE(known.contains(heading), heading);
  for (const std::string& file : files())
    for (const std::string& call : calls_in(file)) {
      CAPTURE(file);
      CAPTURE(call);
      const std::string command = command_of(call, known);
      if (words_of(call)[1].starts_with("--")) continue;
      REQUIRE(!command.empty());
      const std::set<std::string> flags = flags_in(help_of(words_of(command)));
      for (const std::string& flag : flags_in(call.substr(0, call.find(" #"))))
        CHECK_MESSAGE(flags.contains(flag), flag);
    }
}

TEST_CASE("every exit code is in the table of exit codes") {
  const std::string table = section(read(root() / "docs/cli.md"), "## Exit codes");
  for (const int each : {cli::done, cli::judged_wrong, cli::wrong_usage, cli::environment, cli::diverged, cli::mismatch,
                         cli::mistake_of_ours, cli::stopped_by(2), cli::stopped_by(15)})
    CHECK_MESSAGE(table.find(fmt::format("| {} |", each)) != std::string::npos, each);
}

TEST_CASE("the lines of metrics.jsonl that are shown have the keys of those that are written") {
  const Workspace work;
  REQUIRE(command_line::train(work).code == 0);
  std::map<std::string, Json> written;
  for (const Json& line : work.lines("run/metrics.jsonl")) written[line.at("event")] = line;
  std::set<std::string> shown;
  for (const Block& block : blocks("docs/cli.md")) {
    if (block.info.empty() || block.info[0] != "json") continue;
    CAPTURE(block.place());
    const Json line = Json::parse(block.text);
    const std::string event = line.at("event");
    REQUIRE(written.contains(event));
    CHECK(keys_of(line) == keys_of(written.at(event)));
    shown.insert(event);
  }
  CHECK(shown.size() == written.size());
}

TEST_CASE("C++ in the documentation stands in the source that it names") {
  int quoted = 0;
  for (const std::string& file : files())
    for (const Block& block : blocks(file)) {
      if (block.info.empty() || block.info[0] != "cpp" || file == "README.md") continue;
      CAPTURE(block.place());
      REQUIRE(block.info.size() == 2);
      CHECK(stands_in(trimmed_lines(block.text), trimmed_lines(read(root() / block.info[1]))));
      ++quoted;
    }
  CHECK(quoted > 5);
}

TEST_CASE("the list of kernels is the table of kernels") {
  check_generated("runtime/kernels/README.md", "kernels", kernels_text());
}

TEST_CASE("every link to a file leads to one") {
  std::size_t count = 0;
  for (const std::string& file : files())
    for (const std::string& link : links(read(root() / file))) {
      CAPTURE(file);
      CHECK_MESSAGE(fs::exists(root() / fs::path(file).parent_path() / link), link);
      ++count;
    }
  CHECK(count > 10);
}

TEST_CASE("maps of folders name every file that they are the map of") {
  struct Map {
    std::string folder, ending, dropped;
  };
  for (const Map& map : {Map{"compiler/passes", ".cpp", ".cpp"}, Map{"models", ".weir.json", ".weir.json"},
                         Map{"tests", "_test.cpp", ".cpp"}}) {
    const std::string text = read(root() / map.folder / "README.md");
    for (const auto& entry : fs::directory_iterator(root() / map.folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(map.ending)) continue;
      const std::string row = "`" + name.substr(0, name.size() - map.dropped.size()) + "`";
      CHECK_MESSAGE((text.find(row) != std::string::npos), map.folder, "/README.md does not mention ", row);
    }
  }
}
