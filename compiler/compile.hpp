// The pipeline, for people who embed it: a specification's text goes in, a plan comes out. See compile.cpp for the
// order of passes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/diagnostic.hpp"
#include "compiler/passes/memory_curve.hpp"
#include "runtime/plan.hpp"
#include "runtime/target.hpp"
#include "runtime/tuning.hpp"

namespace weir {

struct CompileOptions {
  std::string name = "model";                  ///< default for the specification's name (the file's stem)
  int threads = 0;                             ///< 0: usable CPUs
  std::vector<std::int64_t> batch_sizes = {};  ///< of the train programs; empty: the specification's batch_size
  bool train = true;                           ///< compile train programs (needs `loss` and `train` in the spec)
  bool evaluate = true;                        ///< compile an evaluation program where there is a loss or a metric
  bool predict = true;                         ///< compile a prediction program
  std::vector<std::string> taps = {};          ///< nodes to read, in every program
  std::vector<std::string> exclude = {};       ///< added to the file's list
  std::vector<std::pair<std::string, std::string>> set = {};  ///< path → value
  std::set<std::string> without = {};                         ///< optional passes to leave out, by name
  /// The most bytes that a session of the plan may take for tensors (store_bytes + arena_bytes()). Train programs that
  /// need more compute some values again instead of keeping them; where that is not enough, the model is refused. 0:
  /// any, and large train programs compute again what costs next to nothing.
  std::uint64_t memory_budget = 0;
  bool memory_curve = false;  ///< fill Compiled::memory_curves
  /// Called after each pass with its name and the stage's text where the name is in dump_after ("all": every pass).
  std::set<std::string> dump_after = {};
  std::function<void(std::string_view pass, std::string_view program, const std::string& text)> dump = {};
  TuningOptions tuning = {};   ///< with a table: recipes are timed, and the fastest are taken
  std::string only_term = {};  ///< gradients of this term alone, before its weight (weir gradient --term)
};

struct Compiled {
  std::shared_ptr<const Plan> plan;             ///< null where diagnostics has errors
  Diagnostics diagnostics;                      ///< errors and warnings
  std::vector<MemoryCurve> memory_curves = {};  ///< of each train program, as if there were no budget
};

/// text: the specification's JSON. Mistakes of the user are in `diagnostics`, never thrown; Error is thrown for a newer
/// format (version_mismatch), a call that makes no sense (invalid_argument) and mistakes of ours (internal). target:
/// null for the host.
Compiled compile(std::string_view text, const CompileOptions& options = {}, const Target* target = nullptr);

}  // namespace weir
