// A model as the user gave it: a specification, or a plan that carries one. The content tells which; a plan refuses
// what only the compiler can do.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "compiler/cli/commands.hpp"
#include "compiler/compile.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/error.hpp"

namespace weir::cli {

struct Model {
  std::string file;                  ///< as the user named it
  std::string stem;                  ///< "digits" of "digits.weir.json"
  std::filesystem::path folder;      ///< where relative data paths start
  std::string text;                  ///< the specification's text; of a plan the embedded one
  SpecOverrides overrides;           ///< of the command line
  Spec spec;                         ///< with the overrides
  std::shared_ptr<const Plan> plan;  ///< of a PLAN file; null for a SPEC
};

/// "digits" of "a/digits.weir.json": the name up to its first dot.
std::string stem_of(const std::filesystem::path& path);

/// Whether the text is JSON whose top-level "format" starts with "weir-plan/".
bool is_plan_text(std::string_view text);

/// Reads and checks the file. A wrong specification is shown on console.err, then SpecRefused is thrown. settings:
/// flags with a key in `train` (path, value), applied to a SPEC and to a PLAN's embedded text alike. Throws
/// Error(invalid_argument) where a flag of the compiler (--exclude, --set, --memory-budget, …) meets a PLAN.
Model load_model(const ModelOptions& options, const Console& console, const NamedTexts& settings = {},
                 bool training = true);

/// The model's own plan, or a new one. Warnings are shown where `warn`; a wrong specification as in load_model.
/// `options` says which programs; the flags of the model are filled in here.
std::shared_ptr<const Plan> plan_of(const Model& model, const ModelOptions& flags, CompileOptions options,
                                    const Console& console, bool warn = true);

/// The same with what the compiler reports beside the plan; of a PLAN nothing.
Compiled compiled_of(const Model& model, const ModelOptions& flags, CompileOptions options, const Console& console,
                     bool warn = true);

/// A specification with errors, all of which have been shown: there is nothing more to say.
class SpecRefused : public Error {
 public:
  using Error::Error;
};

/// Everything the compiler finds, under the file's name.
Diagnostics named(const Diagnostics& found, const std::string& file, const std::string& text);
/// Text, or JSON lines with --json. Nothing where there is none.
void show(const Diagnostics& diagnostics, const Console& console);
/// Throws SpecRefused where there are errors.
void refuse_errors(const Diagnostics& diagnostics);

/// "seed: 10 layers, 2 loss terms, 0.9 MiB parameters and state, 4.2 MiB arena (at least 4.1 MiB), 2 threads"
std::string plan_summary(const Model& model, const Plan& plan);

}  // namespace weir::cli
