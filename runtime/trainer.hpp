// Epochs over a set of samples: order, batches, limits, validation, what an epoch's values are. No file is opened here:
// the host hands over open data and gets told of each step and each epoch.
//
// An epoch's value is Σ n_b · v_b / Σ n_b over batches of n_b samples, alike for terms, contributions, total and
// metrics, so that the total stays the sum of the contributions. A weighted metric counts each batch by the sum of its
// weights instead, as Keras does.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/dataset.hpp"
#include "runtime/session.hpp"

namespace weir {

struct EpochTerm {
  std::string name;
  double value = 0;         ///< before the weight
  double weight = 0;        ///< 0 for a watched term
  double contribution = 0;  ///< weight × value
  std::int64_t empty = 0;   ///< batches in which its mask, ignored class or weights left no valid entry
};

/// Means over the samples of an epoch (or of as many batches as were done).
struct EpochValues {
  std::int64_t samples = 0;
  double total = 0;
  std::vector<EpochTerm> terms;                         ///< file order
  std::vector<std::pair<std::string, double>> metrics;  ///< file order
  std::int64_t batches = 0;
};

/// Takes one batch after the other; all results must come from the same plan.
class EpochSum {
 public:
  void add(const StepResult& result, std::int64_t samples);
  EpochValues mean() const;  ///< of nothing: empty

 private:
  EpochValues sum_;
  std::vector<double> shares_;  ///< of the metrics
};

/// A batch of a program's inputs, gathered from a set into buffers that are reused.
class BatchFeed {
 public:
  /// Keeps references: the set must outlive this. Throws Error(not_found) where an input has no data.
  BatchFeed(const Dataset& set, const Program& program);
  /// Valid until the next call.
  const Feed& gather(std::span<const std::uint32_t> rows);

 private:
  struct Column {
    std::string name;
    DType dtype;
    Dims dims;
    std::vector<std::byte> bytes;
    std::size_t row_bytes;
  };
  const Dataset* set_;
  std::vector<Column> columns_;
  Feed feed_;
};

/// What a step saw and did. Views are valid during the callback.
struct StepEvent {
  std::int64_t epoch = 1;    ///< from 1
  std::uint64_t step = 1;    ///< updates since the start of training, this one included
  std::int64_t batch = 1;    ///< of this epoch, from 1
  std::int64_t batches = 1;  ///< in this epoch
  std::int64_t samples = 0;  ///< of this batch
  double learning_rate = 0;
  const StepResult& result;  ///< of the parameters before the update
};

struct EpochEvent {
  std::int64_t epoch = 1;
  std::uint64_t step = 0;  ///< updates since the start of training
  const EpochValues& train;
  const EpochValues* validation = nullptr;  ///< null where there is no validation set
  double seconds = 0;                       ///< of the training part, without validation
};

struct TrainerOptions {
  TrainingSettings settings;
  std::uint64_t steps = 0;                 ///< at most so many updates; 0: no limit
  const std::atomic<int>* stop = nullptr;  ///< looked at between steps; not 0: end after this one
  std::function<void(const StepEvent&)> on_step;
  std::function<void(const EpochEvent&)> on_epoch;  ///< also after an epoch that the limit of steps cut short
  /// Before each update, with its number and batch; must leave the session as it is.
  std::function<void(std::uint64_t step, const Feed& feed)> before_step = {};
};

enum class TrainingEnd { epochs, steps, stopped };

struct TrainingOutcome {
  TrainingEnd end = TrainingEnd::epochs;
  std::uint64_t steps = 0;
  std::optional<EpochValues> train, validation;  ///< of the last epoch that was reported
};

/// The batch sizes that training over `samples` samples steps through within the limits, largest first: the full one
/// and, where it is reached, that of the last, shorter batch. Each needs its train program.
std::vector<std::int64_t> stepped_batch_sizes(std::int64_t samples, const TrainingSettings& settings,
                                              std::uint64_t steps);

/// Trains until the first limit. validation: null for none. Throws what Session throws; a step that failed did not
/// happen (non_finite: training diverged). Throws invalid_argument before the first step where the plan has no train
/// program for a size that would be stepped; rethrows what a callback throws.
TrainingOutcome train(Session& session, const Dataset& set, const Dataset* validation, const TrainerOptions& options);

/// Losses and metrics over the whole set, in batches of the largest evaluation program. Empty values when stopped.
EpochValues evaluate(Session& session, const Dataset& set, const std::atomic<int>* stop = nullptr);

/// The program of this kind with the largest batch; null where the plan has none.
const Program* largest_program(const Plan& plan, ProgramKind kind);

}  // namespace weir
