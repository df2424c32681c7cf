// weir check: everything that can be said about a specification, and nothing written. A plan is loaded and validated.
#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/files.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"

namespace weir::cli {
namespace {

Diagnostics find_all(const ModelOptions& flags) {
  const std::string text = read_text(flags.file, "model");
  if (is_plan_text(text)) {
    plan_from_json(text);
    return {flags.file, text};
  }
  CompileOptions options;
  options.name = stem_of(flags.file);
  options.threads = flags.threads;
  options.batch_sizes = flags.batch_sizes;
  options.exclude = flags.exclude;
  options.set = flags.set;
  return named(compile(text, options).diagnostics, flags.file, text);
}

Json check_json(const Diagnostics& diagnostics) {
  Json json{{"file", diagnostics.file()}, {"ok", !diagnostics.has_errors()}, {"diagnostics", Json::array()}};
  std::string lines = diagnostics.to_json_lines();
  for (std::size_t begin = 0, end; (end = lines.find('\n', begin)) != std::string::npos; begin = end + 1)
    json["diagnostics"].push_back(Json::parse(lines.begin() + static_cast<std::ptrdiff_t>(begin),
                                              lines.begin() + static_cast<std::ptrdiff_t>(end)));
  return json;
}

}  // namespace

int run_check(const CheckOptions& options, const Console& console) {
  const Diagnostics diagnostics = find_all(options.model);
  if (console.json) {
    console.out << check_json(diagnostics).dump(2) << '\n';
  } else {
    show(diagnostics, console);
    const std::size_t warnings = diagnostics.all().size() - diagnostics.error_count();
    if (!diagnostics.has_errors())
      console.out << fmt::format("{}: no errors, {} warning{}\n", options.model.file, warnings,
                                 warnings == 1 ? "" : "s");
  }
  return diagnostics.has_errors() ? judged_wrong : done;
}

}  // namespace weir::cli
