// docs/spec.md says what is so: its examples are judged as the text says, its lists are those of the records.
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "compiler/cli/text.hpp"
#include "compiler/compile.hpp"
#include "compiler/diagnostic_codes.hpp"
#include "compiler/spec/limits.hpp"
#include "compiler/spec/reading.hpp"
#include "runtime/initializer.hpp"
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
      "| where | words |\n|---|---|\n| `type` of a layer | {} |\n| `activation` | {} |\n| `type` of a loss term | {} "
      "|\n"
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
                                                                  {"nodes", "a list of names"},
                                                                  {"from", "a node, or a list of nodes"},
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
    const std::string standard = record.standard   ? code(to_string(*record.standard))
                                 : record.optional ? ""
                                                   : "required";
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
      {"`reduction`", find_key(term_keys(), "reduction")->later_words},
      {"`combine`", find_key(loss_keys(), "combine")->later_words},
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
                                                             {"names with *", patterns},
                                                             {"axes of a tensor besides the batch", rank},
                                                             {"size of an axis", extent},
                                                             {"values in one sample of an input", elements},
                                                             {"diagnostics kept of one file", mistakes}};
  std::string text = "| what | at most |\n|---|---|\n";
  for (const auto& [what, most] : rows)
    text += fmt::format("| {} | {} |\n", what, cli::with_separators(static_cast<std::int64_t>(most)));
  return text;
}

std::string codes_text() {
  std::string text = "| code | says |\n|---|---|\n";
  for (const DiagnosticCode& each : diagnostic_codes()) text += fmt::format("| {} | {} |\n", each.code, each.title);
  return text;
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
}
