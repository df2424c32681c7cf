// weir explain: which loss term trains which parameter, and why not; or what a diagnostic's code means.
#include "compiler/explain.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/diagnostic_codes.hpp"

namespace weir::cli {
namespace {

/// A letter and four digits, and no file of that name.
bool looks_like_a_code(const std::string& word) {
  const bool form = word.size() == 5 && std::string("EWew").find(word[0]) != std::string::npos &&
                    std::all_of(word.begin() + 1, word.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  std::error_code ignored;
  return form && !std::filesystem::exists(word, ignored);
}

int explain_code(const std::string& word, const Console& console) {
  const DiagnosticCode* code = find_diagnostic_code(word);
  if (!code) {
    std::vector<std::string> known;
    for (const DiagnosticCode& each : diagnostic_codes()) known.emplace_back(each.code);
    const std::string near = nearest(word, known);
    throw Error(ErrorCode::invalid_argument, fmt::format("there is no code {}{}; diagnostics show theirs in brackets",
                                                         word, near.empty() ? "" : ", did you mean " + near + "?"));
  }
  if (console.json)
    console.out << Json{{"code", code->code}, {"title", code->title}, {"article", code->article}}.dump(2) << '\n';
  else
    console.out << fmt::format("{}: {}\n\n{}\n", code->code, code->title, code->article);
  return done;
}

}  // namespace

int run_explain(const ExplainOptions& options, const Console& console) {
  if (looks_like_a_code(options.model.file)) return explain_code(options.model.file, console);
  const Model model = load_model(options.model, console, {}, false);
  Diagnostics diagnostics(model.file, model.text);
  const Explanation explanation = explain(model.spec, diagnostics);
  show(diagnostics, console);
  refuse_errors(diagnostics);
  console.out << (console.json ? to_json(explanation) + '\n' : to_text(explanation));
  return done;
}

}  // namespace weir::cli
