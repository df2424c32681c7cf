// weir verify: compiled gradients against the double-precision reference and against central differences, term by term.
#include "compiler/cli/verify.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"

namespace weir::cli {
namespace {

/// Silent in the first second. Then, on a terminal, a line that is drawn over; elsewhere a plain line now and then.
class VerifyProgress {
 public:
  explicit VerifyProgress(const Console& console) : console_(console) {}
  ~VerifyProgress() { clear(); }
  VerifyProgress(const VerifyProgress&) = delete;
  VerifyProgress& operator=(const VerifyProgress&) = delete;

  void operator()(double done, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + (console_.animate ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000));
    clear();
    const std::string text = fmt::format("verify {:.0f} %: {}", 100 * done, what);
    console_.err << text.substr(0, static_cast<std::size_t>(std::max(20, console_.columns - 1)))
                 << (console_.animate ? "" : "\n") << std::flush;
    visible_ = console_.animate;
  }

  void clear() {
    if (visible_) console_.err << "\r\x1b[2K" << std::flush;
    visible_ = false;
  }

 private:
  const Console& console_;
  std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  bool visible_ = false;
};

Json json_of(const GradientCheck& check) {
  Json json{{"name", check.parameter},
            {"holds", check.problem.empty()},
            {"entries", check.entries},
            {"checked", check.checked},
            {"kinks", check.kinks},
            {"compiled_reference", json_number(check.compiled_reference)},
            {"compiled_differences", json_number(check.compiled_differences)},
            {"reference_differences", json_number(check.reference_differences)}};
  if (!check.problem.empty()) json["problem"] = check.problem;
  return json;
}

Json json_of(const LossCheck& loss) {
  Json json{{"name", loss.name}, {"weight", json_number(loss.weight)}, {"parameters", Json::array()}};
  for (const GradientCheck& check : loss.parameters) json["parameters"].push_back(json_of(check));
  if (!loss.problems.empty()) json["problems"] = loss.problems;
  return json;
}

Json json_of(const VerifyReport& report) {
  Json json{{"model", report.model},      {"holds", report.holds()}, {"seed", report.seed},
            {"batch_size", report.batch}, {"terms", Json::array()},  {"total", json_of(report.total)}};
  for (const LossCheck& term : report.terms) json["terms"].push_back(json_of(term));
  json["sum"] = {{"holds", report.sum.problem.empty()},
                 {"compiled", json_number(report.sum.compiled)},
                 {"reference", json_number(report.sum.reference)}};
  json["untouched"] = Json::array();
  for (const UntouchedCheck& check : report.untouched)
    json["untouched"].push_back({{"name", check.name}, {"reason", check.reason}, {"holds", check.holds}});
  json["not_trained"] = report.not_trained;
  json["problems"] = report.problems();
  return json;
}

std::string error_text(double error) { return error == 0 ? "0" : fmt::format("{:.1e}", error); }

void add_rows(const LossCheck& loss, std::vector<std::vector<std::string>>& rows) {
  for (const GradientCheck& check : loss.parameters)
    rows.push_back({loss.name, check.parameter, with_separators(check.entries), with_separators(check.checked),
                    with_separators(check.kinks), error_text(check.compiled_reference),
                    error_text(check.compiled_differences), error_text(check.reference_differences),
                    check.problem.empty() ? "holds" : "WRONG"});
  for (std::size_t i = 0; i < loss.problems.size(); ++i)
    rows.push_back(
        {loss.name, loss.problems[i].substr(0, loss.problems[i].find(' ')), "", "", "", "", "", "", "WRONG"});
}

std::string untouched_text(const VerifyReport& report) {
  std::string text;
  for (const UntouchedCheck& check : report.untouched)
    text += fmt::format("{}{} ({}){}", text.empty() ? "" : ", ", check.name, check.reason, check.holds ? "" : " WRONG");
  return text.empty() ? "nothing has to" : text;
}

std::string text_of(const VerifyReport& report) {
  std::vector<std::vector<std::string>> rows{{"loss", "parameter", "entries", "checked", "kinks", "compiled-reference",
                                              "compiled-differences", "reference-differences", ""}};
  for (const LossCheck& term : report.terms) add_rows(term, rows);
  add_rows(report.total, rows);
  std::string text =
      fmt::format("{}: gradients of {} rows, seed {}; worst errors relative to a gradient's largest entry\n\n",
                  report.model, report.batch, report.seed);
  text += table_text(rows, "llrrrrrrl");
  text += fmt::format("\nsum of terms = total: {} (compiled {}, reference {})\n",
                      report.sum.problem.empty() ? "holds" : "WRONG", error_text(report.sum.compiled),
                      error_text(report.sum.reference));
  text += fmt::format("stays in a training step: {}\n", untouched_text(report));
  for (const std::string& name : report.not_trained) text += fmt::format("term {} trains nothing\n", name);
  return text;
}

VerifyReport verified(const Model& model, const VerifyCommandOptions& options, const Console& console) {
  VerifyProgress progress(console);
  VerifyOptions settings{.name = model.stem,
                         .threads = options.model.threads,
                         .batch = options.batch_size,
                         .samples = options.samples,
                         .seed = options.seed,
                         .exclude = options.model.exclude,
                         .set = options.model.set,
                         .progress = [&](double done, const std::string& what) { progress(done, what); }};
  Diagnostics found;
  const VerifySubjects subjects = prepare_verify(model.text, settings, found);
  const Diagnostics diagnostics = named(found, model.file, model.text);
  show(diagnostics, console);
  refuse_errors(diagnostics);
  return verify_gradients(subjects, settings);
}

}  // namespace

int tell(const VerifyReport& report, const Console& console) {
  const std::vector<std::string> problems = report.problems();
  console.out << (console.json ? json_of(report).dump(2) + '\n' : text_of(report));
  for (const std::string& problem : problems) console.err << fmt::format("weir verify: {}\n", problem);
  return problems.empty() ? done : judged_wrong;
}

int run_verify(const VerifyCommandOptions& options, const Console& console) {
  const Model model = load_model(options.model, console);
  if (model.plan)
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("\"{}\" is a plan, which cannot be taken apart into terms: give the specification", model.file));
  return tell(verified(model, options, console), console);
}

}  // namespace weir::cli
