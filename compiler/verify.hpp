// weir verify as a library: are the gradients that a specification compiles to the derivatives of its losses?
//
// Three computations of each gradient, for each trained term alone (before its weight) and for the whole loss:
//   compiled     the plan's f32 kernels on this machine
//   reference    the double-precision interpreter, walking the backward nodes
//   differences  (value(entry + h) - value(entry - h)) / 2h of the interpreter's losses, what a term holds constant
//                (cuts, targets) held constant; independent of every gradient rule
// The first two are compared in every entry, the third in a sample. Inputs and parameters are made up from the seed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/diagnostic.hpp"
#include "compiler/ir/graph.hpp"
#include "runtime/plan.hpp"

namespace weir {

struct VerifyOptions {
  std::string name = "model";  ///< default for the specification's name
  int threads = 0;             ///< 0: usable CPUs
  std::int64_t batch = 4;
  std::int64_t samples = 20;               ///< entries of each parameter to take differences at
  std::optional<std::uint64_t> seed = {};  ///< of inputs, parameters, dropout and samples; default: the specification's
  std::vector<std::string> exclude = {};   ///< added to the file's list
  std::vector<std::pair<std::string, std::string>> set = {};  ///< path → value
  /// Called as work goes on: how much of it is done (0 to 1), and what comes next.
  std::function<void(double done, const std::string& what)> progress = {};
};

/// One loss with its gradients, at both ends of the compiler.
struct VerifySubject {
  TrainingGraph training;  ///< differentiated and pruned
  std::shared_ptr<const Plan> plan;
};

/// What verify_gradients compares. A test may spoil a part of it to see that it is found out.
struct VerifySubjects {
  std::string model;
  std::uint64_t seed = 0;
  std::int64_t batch = 0;
  VerifySubject whole;
  std::vector<std::pair<std::string, VerifySubject>> terms;  ///< the trained ones, in file order
};

/// One parameter's gradient of one loss. Errors are relative to the gradient's largest entry, or, where rounding alone
/// moves an entry further than that, to what rounding explains.
struct GradientCheck {
  std::string parameter;
  std::int64_t entries = 0;       ///< all compared with the reference
  std::int64_t checked = 0;       ///< compared with differences too
  std::int64_t kinks = 0;         ///< left out of either comparison: the derivative jumps there
  double compiled_reference = 0;  ///< worst relative error between the two
  double compiled_differences = 0;
  double reference_differences = 0;
  std::string problem = {};  ///< a sentence with the place and the numbers; empty where it holds
};

struct LossCheck {
  std::string name;  ///< the term; "total"
  double weight = 1;
  std::vector<GradientCheck> parameters = {};  ///< those that it reaches
  std::vector<std::string> problems = {};  ///< parameters that have a gradient and should not, or the other way round
};

/// Σ weight × gradient of a term = gradient of the whole, entry by entry.
struct SumCheck {
  double compiled = 0, reference = 0;  ///< worst relative errors
  std::string problem = {};
};

/// A parameter or statistic that training must leave alone: whether two steps left every bit of it.
struct UntouchedCheck {
  std::string name;
  std::string reason;  ///< "frozen", "reached by no trained term", "followed by no trained term"
  bool holds = true;
};

struct VerifyReport {
  std::string model;
  std::uint64_t seed = 0;
  std::int64_t batch = 0;
  std::vector<LossCheck> terms = {};
  LossCheck total = {};
  SumCheck sum = {};
  std::vector<UntouchedCheck> untouched = {};
  std::vector<std::string> not_trained = {};  ///< terms with weight 0 or excluded: nothing of them to verify

  std::vector<std::string> problems() const;  ///< each with its term and parameter; empty where everything holds
  bool holds() const { return problems().empty(); }
};

/// The largest errors that hold. f32 rounds at 6e-8 and sums of many products lose some digits of it; double leaves
/// central differences about nine digits.
inline constexpr double compiled_tolerance = 1e-4;
inline constexpr double difference_tolerance = 1e-5;
inline constexpr double sum_tolerance = 1e-9;  ///< of the reference

/// Compiles the whole loss and each trained term alone. Mistakes of the user are in `diagnostics`; then the result
/// means nothing. Throws Error(invalid_spec) where the specification cannot be trained, and what compile() throws.
VerifySubjects prepare_verify(std::string_view text, const VerifyOptions& options, Diagnostics& diagnostics);

VerifyReport verify_gradients(const VerifySubjects& subjects, const VerifyOptions& options);

}  // namespace weir
