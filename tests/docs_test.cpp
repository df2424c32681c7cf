// The documentation says what is so: examples are judged as the text says, code stands in a source that is compiled,
// lists are those of the records, commands and flags are those of the program, links lead somewhere.
#include <map>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "compiler/cli/exit_codes.hpp"
#include "compiler/compile.hpp"
#include "compiler/diagnostic_codes.hpp"
#include "compiler/spec/limits.hpp"
#include "compiler/spec/reading.hpp"
#include "runtime/initializer.hpp"
#include "runtime/kernel.hpp"
#include "compiler/cli/text.hpp"
#include "tests/command_line.hpp"
#include "tests/markdown.hpp"

using namespace weir;
using namespace weir::markdown;

namespace {

using Json = nlohmann::ordered_json;

// ---- Examples of the format

/// What a block's info line promises: "jsonc weir" a whole specification, "jsonc part" sections that take the place of
/// the first example's; then "warns CODE…" or "refused CODE…", in the order of the file.
struct Promise {
  bool whole = false, refused = false;
  std::vector<std::string> codes;
};

Promise promise_of(const Block& block) {
  REQUIRE_MESSAGE(block.info.size() >= 2, block.place(), ": jsonc is followed by weir or part");
  Promise promise{block.info[1] == "weir", false, {}};
  CHECK_MESSAGE((promise.whole || block.info[1] == "part"), block.place());
  if (block.info.size() == 2) return promise;
  promise.refused = block.info[2] == "refused";
  CHECK_MESSAGE((promise.refused || block.info[2] == "warns"), block.place());
  promise.codes.assign(block.info.begin() + 3, block.info.end());
  CHECK_MESSAGE(!promise.codes.empty(), block.place());
  return promise;
}

/// The sections of `part` in the place of those of `base`.
std::string completed(const std::string& base, const Block& part) {
  Json whole = Json::parse(base, nullptr, true, true);
  whole.update(Json::parse("{" + part.text + "}", nullptr, true, true));
  return whole.dump(2);
}

std::vector<std::string> codes_of(const Diagnostics& diagnostics) {
  std::vector<Diagnostic> list = diagnostics.all();
  std::stable_sort(list.begin(), list.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  std::vector<std::string> codes;
  for (const Diagnostic& diagnostic : list) codes.push_back(diagnostic.code);
  return codes;
}

Compiled judge(const std::string& text) {
  const auto target = fixed_target(1);
  return compile(text, {.name = "model.weir.json", .threads = 1}, target.get());
}

// ---- Lists that are generated

std::string code(std::string_view word) { return fmt::format("`{}`", word); }

template <class List>
std::string listed(const List& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + code(word);
  return text;
}

std::string words_text() {
  std::string initializers;
  for (const InitializerType& type : initializer_types()) {
    std::vector<std::string_view> arguments = type.numbers;
    arguments.insert(arguments.end(), type.words.begin(), type.words.end());
    initializers += initializers.empty() ? "" : ", ";
    initializers += code(type.type) + (arguments.empty() ? "" : fmt::format(" ({})", fmt::join(arguments, ", ")));
  }
  return fmt::format(
      "| where | words |\n|---|---|\n| `type` of a layer | {} |\n| `activation` | {} |\n| `type` of a loss term | {} |\n"
      "| `type` of a metric | {}, and every loss |\n| `type` of the optimizer | {} |\n| an initializer | {} |\n",
      listed(op_names({Role::layer})), listed(activation_names()), listed(op_names({Role::loss})),
      listed(op_names({Role::metric})), listed(op_names({Role::optimizer})), initializers);
}

/// What the records say of a key whose value is an object, a list or a name.
std::string held(std::string_view definition) {
  static const std::map<std::string_view, std::string_view> texts{{"loss_type", "a loss"},
                                                                  {"metric_type", "a metric or a loss"},
                                                                  {"layer_type", "a layer type"},
                                                                  {"optimizer_type", "an optimizer"},
                                                                  {"node", "a node"},
                                                                  {"from", "a node, a list or an object of nodes"},
                                                                  {"format", "`\"weir/1\"`"},
                                                                  {"stem", "a name for files"},
                                                                  {"shape", "a list of sizes"},
                                                                  {"name", "a name"},
                                                                  {"text", "a path"},
                                                                  {"columns", "a list of column names"},
                                                                  {"data_set", "an object, sources by input"},
                                                                  {"exclude", "a list of nodes and terms"},
                                                                  {"inputs", "an object, inputs by name"},
                                                                  {"terms", "an object, terms by name"},
                                                                  {"metrics", "an object, metrics by name"},
                                                                  {"layers", "a list of layers"},
                                                                  {"outputs", "a list of nodes"}};
  const auto found = texts.find(definition);
  return found == texts.end() ? "an object" : std::string(found->second);
}

std::string keys_text(Keys keys) {
  std::string text = "| key | value | default | meaning |\n|---|---|---|---|\n";
  for (const KeyDef& key : keys) {
    const AttributeDef& record = key.value;
    if (record.later || !key.refused.empty()) continue;
    const std::string standard = record.standard ? code(to_string(*record.standard)) : record.optional ? "" : "required";
    text += fmt::format("| `{}` | {} | {} | {} |\n", record.name,
                        key.holds.empty() ? expectation(record) : held(key.holds), standard, record.doc);
  }
  return text;
}

std::vector<std::string_view> later_keys(Keys keys) {
  std::vector<std::string_view> names;
  for (const KeyDef& key : keys)
    if (key.value.later) names.push_back(key.value.name);
  return names;
}

/// Words of Keras without a record; some of the lists also hold those that have one.
std::vector<std::string_view> later_words(const std::vector<std::string_view>& known,
                                          const std::vector<std::string>& supported) {
  std::vector<std::string_view> words;
  for (const std::string_view word : known)
    if (std::find(supported.begin(), supported.end(), word) == supported.end()) words.push_back(word);
  return words;
}

std::string later_text() {
  const std::pair<std::string_view, std::vector<std::string_view>> rows[] = {
      {"keys of the file", later_keys(root_keys())},
      {"keys of a layer", later_keys(layer_keys())},
      {"keys of `loss`", later_keys(loss_keys())},
      {"keys of a term", later_keys(term_keys())},
      {"keys of `train`", later_keys(train_keys())},
      {"keys of the optimizer", later_keys(optimizer_keys())},
      {"`numerics`", find_key(root_keys(), "numerics")->later_words},
      {"`reduction`", find_key(term_keys(), "reduction")->later_words},
      {"layers", later_words(LaterWords::layers(), op_names({Role::layer}))},
      {"activations", later_words(LaterWords::activations(), activation_names())},
      {"losses", later_words(LaterWords::losses(), op_names({Role::loss}))},
      {"metrics", later_words(LaterWords::metrics(), op_names({Role::metric}))},
      {"optimizers", later_words(LaterWords::optimizers(), op_names({Role::optimizer}))}};
  std::string text = "| where | words |\n|---|---|\n";
  for (const auto& [where, words] : rows)
    if (!words.empty()) text += fmt::format("| {} | {} |\n", where, listed(words));
  return text;
}

std::string limits_text() {
  using namespace limits;
  const std::pair<std::string_view, std::uint64_t> rows[] = {{"bytes of a file", spec_bytes},
                                                             {"levels of nesting", json_depth},
                                                             {"values in a file", json_values},
                                                             {"keys in an object", object_members},
                                                             {"bytes of a string", string_bytes},
                                                             {"bytes of a name", name_bytes},
                                                             {"layers", layers},
                                                             {"nodes that one layer reads", operands},
                                                             {"nodes that all layers read", edges},
                                                             {"loss terms, and metrics", terms},
                                                             {"axes of a tensor besides the batch", rank},
                                                             {"size of an axis", extent},
                                                             {"values in one sample of an input", elements},
                                                             {"diagnostics kept of one file", mistakes}};
  std::string text = "| what | at most |\n|---|---|\n";
  for (const auto& [what, most] : rows) text += fmt::format("| {} | {} |\n", what, cli::with_separators(static_cast<std::int64_t>(most)));
  return text;
}

std::string codes_text() {
  std::string text = "| code | says |\n|---|---|\n";
  for (const DiagnosticCode& each : diagnostic_codes()) text += fmt::format("| {} | {} |\n", each.code, each.title);
  return text;
}

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
    return matches(section("# \n" + std::regex_replace(help_of(group), std::regex("Subcommands:"), "## list"), "## list"),
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

TEST_CASE("every example of the format is judged as the text says") {
  std::string base;
  for (const Block& block : blocks("docs/spec.md")) {
    if (block.info.empty() || block.info[0] != "jsonc") continue;
    CAPTURE(block.place());
    const Promise promise = promise_of(block);
    if (base.empty()) base = block.text;
    const Compiled compiled = judge(promise.whole ? block.text : completed(base, block));
    const std::string printed = compiled.diagnostics.to_text();
    CAPTURE(printed);
    CHECK(codes_of(compiled.diagnostics) == promise.codes);
    CHECK(compiled.diagnostics.has_errors() == promise.refused);
    CHECK((compiled.plan == nullptr) == promise.refused);
  }
  CHECK(!base.empty());
}

TEST_CASE("the diagnostics that are shown are those of the example before them") {
  std::string example;
  int shown = 0;
  for (const Block& block : blocks("docs/spec.md")) {
    if (!block.info.empty() && block.info[0] == "jsonc") example = block.text;
    if (block.info.size() < 2 || block.info[1] != "printed") continue;
    CAPTURE(block.place());
    CHECK(judge(example).diagnostics.to_text() == block.text);
    ++shown;
  }
  CHECK(shown > 0);
}

TEST_CASE("the lists of the format are those of the records") {
  check_generated("docs/spec.md", "keys of the file", keys_text(root_keys()));
  check_generated("docs/spec.md", "keys of an input", keys_text(input_keys()));
  check_generated("docs/spec.md", "keys of a layer", keys_text(layer_keys()));
  check_generated("docs/spec.md", "keys of the loss", keys_text(loss_keys()));
  check_generated("docs/spec.md", "keys of a term", keys_text(term_keys()));
  check_generated("docs/spec.md", "keys of a target", keys_text(target_keys()));
  check_generated("docs/spec.md", "keys of train", keys_text(train_keys()));
  check_generated("docs/spec.md", "keys of data", keys_text(data_keys()));
  check_generated("docs/spec.md", "words", words_text());
  check_generated("docs/spec.md", "not supported yet", later_text());
  check_generated("docs/spec.md", "limits", limits_text());
  check_generated("docs/spec.md", "codes", codes_text());
  check_generated("runtime/kernels/README.md", "kernels", kernels_text());
}

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
      for (const std::string& flag : flags_in(call.substr(0, call.find(" #")))) CHECK_MESSAGE(flags.contains(flag), flag);
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
  const std::pair<const char*, const char*> maps[] = {
      {"compiler/passes", ".cpp"}, {"models", ".weir.json"}, {"tests", "_test.cpp"}};
  for (const auto& [folder, ending] : maps) {
    const std::string map = read(root() / folder / "README.md");
    for (const auto& entry : fs::directory_iterator(root() / folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(ending)) continue;
      const std::string stem = name.substr(0, name.size() - std::string(ending).size());
      CHECK_MESSAGE(map.find("`" + stem + "`") != std::string::npos, folder, "/README.md has no row for ", name);
    }
  }
}
