// What the file says, each field with its place. Checked against the op records (types, ranges, known keys), names
// resolved to nodes that exist; shapes are not known here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "compiler/diagnostic.hpp"
#include "compiler/ir/op.hpp"
#include "runtime/schedule.hpp"

namespace weir {

template <class T>
struct Located {
  T value{};
  Place place;
};

struct InputSpec {
  std::string name;
  Dims shape;
  DType dtype = DType::f32;
  Place place;
};

/// A regularizer or a constraint of a layer.
struct ParameterRule {
  std::string name;  ///< "conv_1.kernel_regularizer": that of the term; a constraint's is never reported
  std::string of;    ///< the parameter, "kernel"; "" for the layer's output (activity_regularizer)
  const OpDef* op = nullptr;
  Attributes attributes;  ///< with the record's defaults
  Place place;
};

struct LayerSpec {
  std::string name;
  const OpDef* op = nullptr;
  std::vector<Located<std::string>>
      from;               ///< node names, in the op's operand order; filled in where the file leaves it out
  Attributes attributes;  ///< with the record's defaults
  std::map<std::string, Schedule> schedules;  ///< of attributes that are no fixed number
  bool trainable = true;                      ///< false: its parameters get no gradient, decay, moment or statistic
  bool training = true;                       ///< false: it always computes as in evaluation
  bool stop_gradient = false;                 ///< whoever reads it sees a constant
  std::vector<ParameterRule> regularizers, constraints;
  std::string share;                                 ///< the layer whose parameters it uses; "" for its own
  std::map<std::string, Place, std::less<>> places;  ///< of the keys that the file has
  Place place;
};

struct TargetSpec {
  enum class Kind { none, input, constant, node } kind = Kind::none;
  std::string name;  ///< input or node
  double constant = 0;
  std::int64_t one_hot = 0;  ///< 0: not given
  bool gradient = false;     ///< node: it hears the term too
  Place place;
};

/// A loss term; also a metric (then without weight).
struct TermSpec {
  std::string name;
  const OpDef* op = nullptr;
  Located<std::string> at;
  TargetSpec target;
  Located<double> weight{1.0, {}};   ///< of a schedule: its first value
  std::optional<Schedule> schedule;  ///< of the weight
  std::optional<bool> from_logits;
  std::optional<Located<std::string>> sample_weight, mask;  ///< inputs
  std::vector<Located<std::string>> stop_at;                ///< nodes: the term's gradient ends there
  std::vector<Located<std::string>> skip, only;             ///< layers (owners of parameters)
  Attributes attributes;  ///< of the op, with defaults (label_smoothing, axis, …), "reduction" among them for a loss
  Place place;
};

struct LossSpec {
  std::vector<TermSpec> terms;                ///< file order
  std::vector<Located<std::string>> exclude;  ///< nodes or terms, from the file and then from flags
  std::string unreached = "warn";             ///< "warn" | "error" | "allow"
  std::string combine = "sum";                ///< "sum" | "normalized" | "uncertainty"
  Place place;
};

struct TrainSpec {
  const OpDef* optimizer = nullptr;
  Attributes optimizer_attributes;  ///< learning_rate among them
  Place optimizer_place;
  std::int64_t batch_size = 32, epochs = 1;
  std::uint64_t seed = 0;
  bool shuffle = true, drop_remainder = false;
  std::vector<TermSpec> metrics;
  Place place;
};

struct CsvSource {
  std::string file;
  std::vector<std::string> columns;
};
struct RandomSource {
  std::int64_t samples = 0;
  std::int64_t classes = 0;
};
struct DataSource {
  std::variant<std::string, CsvSource, RandomSource> source;  ///< a path ("f.npz:array" allowed), CSV columns, random
  Place place;
};
using DataSet = std::map<std::string, DataSource, std::less<>>;  ///< by input

struct DataSpec {
  std::optional<DataSet> train, validation, test;
  Located<double> validation_split{0.0, {}};
  Place place;
};

struct Spec {
  std::string name;
  std::string numerics = "keras";
  std::vector<InputSpec> inputs;              ///< file order
  std::vector<LayerSpec> layers;              ///< file order
  std::vector<Located<std::string>> outputs;  ///< empty: every layer that nothing reads
  std::optional<LossSpec> loss;
  std::optional<TrainSpec> train;
  std::optional<DataSpec> data;
  std::string canonical;  ///< the effective file (after --set and --exclude) as canonical JSON: sorted keys as in the
                          ///< file, no comments
};

/// Changes from the command line, applied to the document before it is checked.
struct SpecOverrides {
  std::vector<std::pair<std::string, std::string>> set;  ///< "layers.conv_1.filters" → "64" (JSON, or else a string)
  std::vector<std::string> exclude;
  bool training = true;  ///< the caller will train: with a `train` section, nothing left to train is an error
};

/// Reads and checks a file's text; every mistake goes into diagnostics. The result is meaningful only where diagnostics
/// has no errors. stem: the default name. Throws Error(version_mismatch) for "weir/2" and later.
Spec parse_spec(std::string_view text, std::string_view stem, Diagnostics& diagnostics,
                const SpecOverrides& overrides = {});

/// FNV-1a 64 over the canonical text, 16 hexadecimal digits.
std::string spec_hash(std::string_view canonical);

/// The JSON Schema of the format, from the op records; `schemas/weir-1.schema.json` is its committed print.
std::string emit_schema();
/// Markdown tables of every op: name, equation, keys, defaults; docs/ops.md is its committed print.
std::string emit_op_tables();

}  // namespace weir
