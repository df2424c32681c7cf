// Memory and executables made from a plan. One of the two headers that an embedding service needs (the other:
// compiler/compile.hpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/error.hpp"
#include "runtime/plan.hpp"
#include "runtime/tensor.hpp"

namespace weir {

/// One batch by input name. Rows lie one after another; every view has the same number of rows. Inputs that the program
/// does not execute may be left out; an unknown name, a wrong shape or type, a class outside its range are
/// Error(invalid_data).
using Feed = std::map<std::string, TensorView, std::less<>>;

struct SessionOptions {
  std::uint64_t seed = 0;  ///< initial values, dropout; shuffling is the trainer's
  bool initialize = true;  ///< false: parameters start at zero until loaded
  bool poison = false;     ///< fill the arena with NaN before each step (tests)
};

struct TermValue {
  std::string_view name;
  double value = 0;         ///< before the weight
  double weight = 0;        ///< of this step (scheduled, normalised); 0 for a watched term
  double contribution = 0;  ///< weight × value; exactly 0 for a watched term or a weight of 0
  bool empty = false;       ///< its mask, ignored class or weights left no valid entry: value 0, no gradient
};

/// Views and names are valid until the next call on the session.
struct StepResult {
  double total = 0;  ///< Σ contribution, summed in double in file order
  std::span<const TermValue> terms;
  std::span<const std::pair<std::string_view, double>> metrics;
  std::span<const double> metric_shares;  ///< what a mean over batches counts each metric by: Σ of its weights, or
                                          ///< rows; where empty, all by rows
};

/// One call at a time; different sessions are independent. Errors are weir::Error; a failed call leaves parameters,
/// statistics, optimizer state and the step count as they were.
class Session {
 public:
  /// Throws fingerprint_mismatch where the plan was made for another machine, oneDNN or thread count;
  /// resource_exhausted.
  explicit Session(std::shared_ptr<const Plan> plan, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  const Plan& plan() const;
  std::shared_ptr<const Plan> shared_plan() const;

  /// Forward, backward, update. Rows must be a batch size of one of the plan's train programs. Throws non_finite with
  /// the tensor's name where a loss, gradient or statistic is not finite.
  StepResult train_step(const Feed& feed);
  /// The same without the update: gradients can be read afterwards.
  StepResult gradient_step(const Feed& feed);
  /// Losses and metrics in evaluation mode over 1 … batch rows.
  StepResult evaluate(const Feed& feed);
  /// Node values by name, dense, for any number of rows, of which so many at once as the program takes. Owned by the
  /// caller.
  std::map<std::string, Tensor> predict(const Feed& feed);

  /// Dense, canonical axis order. Throws not_found.
  Tensor parameter(std::string_view name) const;
  void set_parameter(std::string_view name, const TensorView& value);
  /// After train_step or gradient_step. Throws not_found for a parameter that no trained term reaches.
  Tensor gradient(std::string_view parameter_name) const;
  /// A tap of the program that ran last. Throws failed_precondition after a prediction in several slices.
  Tensor output(std::string_view node) const;

  /// Live weight of a kept term (finite, ≥ 0) and learning rate, from the next step on. Setting the weight of an
  /// excluded or watched term is invalid_argument: those are structural. A term whose weight follows a schedule no
  /// longer does so. Where weights are normalised, this one is divided with the others.
  void set_weight(std::string_view term, double weight);
  void set_learning_rate(double rate);
  double learning_rate() const;
  std::uint64_t steps() const;  ///< updates done so far
  /// For going on where other updates ended: the next step draws the random numbers of step `done` + 1.
  void set_steps(std::uint64_t done);
  /// Epochs completed, for schedules per epoch; a host that counts epochs says so before the first step of each.
  void set_epochs(std::uint64_t completed);
  std::uint64_t epochs() const;

  /// From now on each step of a program is timed, or no longer: a reading of the clock a step.
  void set_timing(bool on);
  /// Of the program that ran last, while timing was on: seconds of its steps, those of refresh, compute and commit one
  /// behind the other. 0 for a step that did not run. Valid until the next call on the session.
  std::span<const double> step_seconds() const;

  /// All parameters and statistics, trained or not, as safetensors in canonical form. Written beside and renamed.
  void save_weights(const std::filesystem::path& path) const;
  /// Every parameter exactly once unless `partial`; all misfits are listed in one error. Returns the names that kept
  /// their value.
  std::vector<std::string> load_weights(const std::map<std::string, Tensor>& weights, bool partial = false);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace weir
