// The plan: what the compiler hands to the runtime. Pure data, readable and diffable as JSON (plan_json.hpp); no
// pointers, no ops, no gradients. It carries the specification as text and never reads it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/recipe.hpp"
#include "runtime/schedule.hpp"
#include "runtime/target.hpp"

namespace weir {

enum class BufferClass : std::uint8_t {
  parameter,
  statistic,
  state,
  gradient,
  activation,
  copy,
  scratch,
  input,
  output
};

/// store: parameters, statistics and optimizer state, kept between steps and shared by all programs. arena: everything
/// else, one block used by whichever program runs.
struct Buffer {
  std::string name;  ///< "conv_1.kernel", "d.conv_1.kernel", "pool_1"
  BufferClass kind = BufferClass::activation;
  DType dtype = DType::f32;
  Shape shape;
  std::uint64_t offset = 0;  ///< bytes from the start of the store or the arena, a multiple of 64
  bool operator==(const Buffer&) const = default;
};
std::uint64_t byte_count(const Buffer& buffer);

/// Where an operand of a step lives: "p3" store, "b4" the program's arena buffers, "s2" scalars.
struct BufferRef {
  enum class Space : std::uint8_t { store, arena, scalar } space = Space::arena;
  int index = 0;
  bool operator==(const BufferRef&) const = default;
};
std::string to_string(BufferRef ref);

struct Step {
  int recipe = 0;                   ///< index into Plan::recipes
  std::vector<BufferRef> operands;  ///< one for each operand of the recipe
  std::string node;                 ///< what it does, in the user's names: "conv_1", "conv_1 gradient of kernel"
  bool watched = false;             ///< reads only: removing it changes no trained bit
  bool operator==(const Step&) const = default;
};

/// One reader that looks at a part of an input: the target of a term with a mask or an ignored class.
struct InputReader {
  int mask = -1;             ///< index into Program::inputs: entries where it holds 0 are not looked at; -1: none
  std::int64_t classes = 0;  ///< as in InputBinding
  std::optional<std::int64_t> ignored = {};  ///< a class that is allowed outside the range
  bool operator==(const InputReader&) const = default;
};

/// An input of the model as the host feeds it: dense rows of `dims` values a sample.
struct InputBinding {
  std::string name;
  DType dtype = DType::f32;
  Dims dims;                 ///< per sample
  int buffer = 0;            ///< arena buffer
  std::int64_t classes = 0;  ///< i32 only: values must lie in 0 … classes-1; 0 where nothing bounds them
  bool mask = false;         ///< values must be 0 or 1
  /// Where some reader looks at a part: all of them, and entries that none looks at are not checked. Empty otherwise.
  std::vector<InputReader> readers = {};
  bool operator==(const InputBinding&) const = default;
};

/// A node's value or a parameter's gradient that the host can read after the program ran.
struct OutputBinding {
  std::string name;
  Dims dims;  ///< per sample (node) or canonical (gradient)
  int buffer = 0;
  bool operator==(const OutputBinding&) const = default;
};

/// The buffer must be finite and no entry larger than bound in magnitude when compute ends, or the step does not
/// happen. The value of a term whose weight is 0 in this step is not looked at: it contributes exactly 0.
struct Check {
  std::string name;  ///< "gradient of conv_1.kernel"
  BufferRef buffer;
  double bound = 0;  ///< 0: finite only
  bool operator==(const Check&) const = default;
};

struct TermReport {
  std::string name;
  int value = 0;         ///< scalar that the program writes, before the weight
  int weight = -1;       ///< scalar that multiplies it; -1 for a watched term, whose contribution is exactly 0
  int denominator = -1;  ///< scalar: what a weighted term divided by, 0 where it had no valid entry; -1: not weighted
  bool regularizer = false;  ///< a part beside the loss terms: normalized weights leave it out
  int given = -1;            ///< scalar that the host sets, where the program computes the weight from it; -1: `weight`
  int settable() const { return given >= 0 ? given : weight; }
  bool operator==(const TermReport&) const = default;
};

struct MetricReport {
  std::string name;
  int value = 0;
  int denominator = -1;  ///< as in TermReport
  bool operator==(const MetricReport&) const = default;
};

enum class ProgramKind : std::uint8_t { train, evaluate, predict };

struct Program {
  ProgramKind kind = ProgramKind::train;
  std::int64_t batch = 0;  ///< train: exactly so many rows; evaluate: 1 to so many; predict: so many at once
  std::vector<Buffer> buffers;
  std::vector<Step> refresh;  ///< weight copies in other layouts; runs when parameters changed or another program ran
  std::vector<Step> compute;  ///< touches only the arena and scalars
  std::vector<Step> commit;   ///< parameters, optimizer state, statistics; cannot fail
  std::vector<InputBinding> inputs;
  std::vector<OutputBinding> outputs;
  std::vector<OutputBinding> gradients;  ///< train: named by parameter
  std::vector<Check> checks;
  std::vector<TermReport> terms;
  std::vector<MetricReport> metrics;
  std::uint64_t arena_bytes = 0;
  std::uint64_t lower_bound = 0;  ///< bytes live at once at the fullest step: no arena can be smaller
  bool operator==(const Program&) const = default;
};

struct Parameter {
  std::string name;  ///< "<layer>.<parameter>"
  Dims dims;         ///< canonical: Keras' axis order
  bool statistic = false;
  bool trained = false;  ///< some kept term reaches it
  Initializer initializer;
  int buffer = 0;                    ///< index into Plan::store
  std::map<std::string, int> state;  ///< optimizer slots: "m" → store buffer
  bool operator==(const Parameter&) const = default;
};

struct Scalar {
  std::string name;  ///< "learning_rate", "step" (updates before this one + 1), "rows", "seed", "weight.<term>",
                     ///< "scale.<layer>", "loss.<term>", "metric.<name>"
  double initial = 0;
  bool operator==(const Scalar&) const = default;
};

/// A scalar that follows a curve. It is set before every step and evaluation, until the host sets it itself.
struct ScheduledScalar {
  int scalar = 0;  ///< index into Plan::scalars
  Schedule schedule;
  bool operator==(const ScheduledScalar&) const = default;
};

/// What the trainer needs to know; the spec's `train` section resolved.
struct TrainingSettings {
  std::int64_t batch_size = 32;
  std::int64_t epochs = 1;
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool drop_remainder = false;
  bool operator==(const TrainingSettings&) const = default;
};

/// Of a plan whose recipes were chosen by the clock.
struct TuningReport {
  int timed = 0;    ///< distinct open recipes that had several ways to be computed
  int changed = 0;  ///< of them, and of nodes with a layout: chosen otherwise than without the clock
  bool operator==(const TuningReport&) const = default;
};

struct Plan {
  std::string model;  ///< the specification's name
  Fingerprint fingerprint;
  std::string spec;       ///< the effective specification, canonical JSON
  std::string spec_hash;  ///< 16 hexadecimal digits over `spec`
  TrainingSettings training;
  std::vector<std::string> inputs;  ///< every input of the specification, executed or not
  std::vector<Buffer> store;
  std::uint64_t store_bytes = 0;
  std::vector<Parameter> parameters;
  std::vector<Scalar> scalars;
  std::vector<ScheduledScalar> schedules;
  bool normalized_weights = false;  ///< before every step, weights of terms (TermReport::weight) are divided by their
                                    ///< sum; where all are 0 they stay 0
  std::vector<Recipe> recipes;      ///< each distinct recipe once
  std::vector<Program> programs;
  std::optional<TuningReport> tuning = {};

  std::uint64_t arena_bytes() const;  ///< of the largest program
  const Program* find(ProgramKind kind, std::int64_t batch) const;
  int scalar(std::string_view name) const;  ///< index, or -1
  bool operator==(const Plan&) const = default;
};

std::string_view to_string(ProgramKind kind);
std::string_view to_string(BufferClass kind);

/// Throws Error(invalid_data) where the plan does not hold together: unknown kernels, indices, sizes, overlaps; by
/// replay, every byte a step reads was last written by that buffer's owner. Called by every loader and by Session.
void validate_plan(const Plan& plan);

/// Stable text for people: `show --as text` and golden dumps. Offsets and lives of buffers are printed where `memory`
/// is set.
std::string print_plan(const Plan& plan, bool memory = true);
/// The steps of a program without offsets; trained steps alone where `watched` is false.
std::string print_steps(const Plan& plan, const Program& program, bool watched);

std::string plan_to_json(const Plan& plan);
/// Throws Error(invalid_data) with the JSON pointer, version_mismatch for a newer format. Validates.
Plan plan_from_json(std::string_view text);

}  // namespace weir
