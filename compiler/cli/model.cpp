#include "compiler/cli/model.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "compiler/cli/files.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/cli/tuning_file.hpp"

namespace weir::cli {
namespace {

/// Stops at the first top-level "format"; never builds a document, so size and depth of the rest do not matter.
class FormatFinder : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::string format;

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool string(string_t& text) override {
    if (wanted_) format = text;
    return value();
  }
  bool start_object(std::size_t) override { return ++depth_ == 1 || value(); }
  bool end_object() override { return --depth_ > 0; }
  bool start_array(std::size_t) override { return depth_++ > 0 && value(); }
  bool end_array() override { return --depth_ > 0; }
  bool key(string_t& name) override {
    wanted_ = depth_ == 1 && name == "format";
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }

 private:
  bool value() { return !wanted_; }
  int depth_ = 0;
  bool wanted_ = false;
};

void refuse_on_plan(const ModelOptions& options, const Plan& plan) {
  const auto refuse = [&](const std::string& what) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format(
            "{} on a plan: \"{}\" is compiled already. Give the flag with the specification, or to weir compile", what,
            options.file));
  };
  if (!options.exclude.empty()) refuse("--exclude " + options.exclude.front());
  if (!options.set.empty()) refuse("--set " + options.set.front().first);
  if (options.threads != 0 && options.threads != plan.fingerprint.threads)
    refuse(fmt::format("--threads {} (it was made for {})", options.threads, plan.fingerprint.threads));
  if (options.tune) refuse("--tune");
  if (!options.batch_sizes.empty()) refuse(fmt::format("--batch-size {}", options.batch_sizes.front()));
  if (options.memory_budget > 0) refuse(fmt::format("--memory-budget {}", options.memory_budget));
}

}  // namespace

std::string stem_of(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.substr(0, name.find('.', 1));
}

bool is_plan_text(std::string_view text) {
  FormatFinder finder;
  nlohmann::json::sax_parse(text.begin(), text.end(), &finder, nlohmann::json::input_format_t::json, false, true);
  return finder.format.starts_with("weir-plan/");
}

Diagnostics named(const Diagnostics& found, const std::string& file, const std::string& text) {
  Diagnostics result(file, text);
  for (const Diagnostic& each : found.all()) {
    Diagnostic& copy = each.severity == Severity::error ? result.error(each.code, each.place, each.message)
                                                        : result.warning(each.code, each.place, each.message);
    copy.notes = each.notes;
    copy.help = each.help;
  }
  return result;
}

void show(const Diagnostics& diagnostics, const Console& console) {
  if (!diagnostics.all().empty()) console.err << (console.json ? diagnostics.to_json_lines() : diagnostics.to_text());
}

void refuse_errors(const Diagnostics& diagnostics) {
  if (diagnostics.has_errors())
    throw SpecRefused(ErrorCode::invalid_spec,
                      fmt::format("{} has {} errors", diagnostics.file(), diagnostics.error_count()));
}

Model load_model(const ModelOptions& options, const Console& console, const NamedTexts& settings, bool training) {
  Model model;
  model.file = options.file;
  model.stem = stem_of(options.file);
  model.folder = std::filesystem::path(options.file).parent_path();
  model.text = read_text(options.file, "model");
  model.overrides = {options.set, options.exclude, training};
  if (is_plan_text(model.text)) {
    model.plan = std::make_shared<const Plan>(plan_from_json(model.text));
    refuse_on_plan(options, *model.plan);
    model.text = model.plan->spec;
    model.stem = model.plan->model;
  }
  model.overrides.set.insert(model.overrides.set.end(), settings.begin(), settings.end());
  Diagnostics diagnostics(model.file, model.text);
  model.spec = parse_spec(model.text, model.stem, diagnostics, model.overrides);
  if (diagnostics.has_errors()) show(diagnostics, console);
  refuse_errors(diagnostics);
  return model;
}

Compiled compiled_of(const Model& model, const ModelOptions& flags, CompileOptions options, const Console& console,
                     bool warn) {
  if (model.plan) return {model.plan, {}, {}};
  options.name = model.stem;
  options.threads = flags.threads;
  options.memory_budget = flags.memory_budget;
  if (options.batch_sizes.empty()) options.batch_sizes = flags.batch_sizes;
  options.exclude = model.overrides.exclude;
  options.set = model.overrides.set;
  std::optional<TuningFile> tuning;
  if (flags.tune) {
    tuning.emplace(tuning_file_path(), options.threads > 0 ? options.threads : usable_cpus(), console);
    options.tuning = tuning->options();
  }
  Compiled compiled = compile(model.text, options);
  if (tuning) tuning->save();
  const Diagnostics diagnostics = named(compiled.diagnostics, model.file, model.text);
  if (warn || diagnostics.has_errors()) show(diagnostics, console);
  refuse_errors(diagnostics);
  WEIR_CHECK(compiled.plan, "no plan and no error");
  return compiled;
}

std::shared_ptr<const Plan> plan_of(const Model& model, const ModelOptions& flags, CompileOptions options,
                                    const Console& console, bool warn) {
  return compiled_of(model, flags, std::move(options), console, warn).plan;
}

std::string plan_summary(const Model& model, const Plan& plan) {
  std::set<std::string> terms;
  std::uint64_t lower_bound = 0;
  for (const Program& program : plan.programs) {
    for (const TermReport& term : program.terms) terms.insert(term.name);
    if (program.arena_bytes == plan.arena_bytes()) lower_bound = program.lower_bound;
  }
  const auto counted = [](std::size_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  const std::string tuned =
      plan.tuning ? fmt::format(", tuned ({} choices differ from the usual ones)", plan.tuning->changed) : "";
  return fmt::format("{}: {}, {}, {} of parameters and state, {} arena (at least {}), {}{}", plan.model,
                     counted(model.spec.layers.size(), "layer"), counted(terms.size(), "loss term"),
                     bytes_text(plan.store_bytes), bytes_text(plan.arena_bytes()), bytes_text(lower_bound),
                     counted(static_cast<std::size_t>(plan.fingerprint.threads), "thread"), tuned);
}

}  // namespace weir::cli
