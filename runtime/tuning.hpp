// Choices by the clock: which way to compute a step was the fastest on a machine. Plain data, kept between compilations
// in a file (compiler/cli/tuning_file.hpp); what a plan says never depends on it unless the user asked for tuning.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/plan.hpp"
#include "runtime/target.hpp"

namespace weir {

struct TunedStep {
  std::string way;           ///< "inner_product_forward/2": kernel and threads of the fastest
  double seconds = 0;        ///< of its fastest run
  double usual_seconds = 0;  ///< of the way that is taken without tuning
  bool operator==(const TunedStep&) const = default;
};

/// By the text of the open recipe.
using TuningTable = std::map<std::string, TunedStep>;

/// By machine (machine_name).
using TuningTables = std::map<std::string, TuningTable>;

struct TuningOptions {
  TuningTable* table = nullptr;  ///< read and added to; null: nothing is timed
  double most_seconds = 60;      ///< when they are spent, what was not timed is computed as usual
  /// Called after each recipe that was timed: how many so far, in how many seconds.
  std::function<void(int timed, double seconds)> progress = {};
};

/// A target that times the ways there are to compute a recipe and takes the fastest; where it is not clearly faster
/// than the usual one, that.
class TunedTarget : public Target {
 public:
  /// Of the recipes closed so far.
  virtual TuningReport report() const = 0;
};

/// The machine at hand. The table outlives the target.
std::unique_ptr<TunedTarget> tuned_target(int threads, const TuningOptions& options);

/// CPU, library, instruction set and threads: where times can be compared. "AMD EPYC 7B13, oneDNN 3.2.0, avx2, 2
/// threads"
std::string machine_name(int threads);

/// JSON, format "weir-tuning/1".
std::string tuning_to_json(const TuningTables& tables);
/// Throws Error(invalid_data) or Error(version_mismatch).
TuningTables tuning_from_json(std::string_view text);

}  // namespace weir
