// The commands as functions of their flags. Each returns an exit code (exit_codes.hpp) or throws weir::Error, which
// program.cpp turns into one; each stands in a file of its name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compiler/cli/console.hpp"

namespace weir::cli {

using NamedTexts = std::vector<std::pair<std::string, std::string>>;

struct ModelOptions {
  std::string file;                       ///< SPEC or PLAN; the content tells
  std::vector<std::string> exclude;       ///< SPEC only
  NamedTexts set;                         ///< SPEC only: path → value
  std::vector<std::int64_t> batch_sizes;  ///< of the train programs; empty: the specification's
  int threads = 0;                        ///< 0: usable CPUs
  std::uint64_t memory_budget = 0;        ///< SPEC only; 0: none
  bool tune = false;                      ///< SPEC only: choose by the clock
};

struct DataOptions {
  std::string folder;  ///< --data; empty: the model file's folder
  NamedTexts inputs;   ///< --input NAME=FILE, relative to the current folder
  std::string set = "validation";
};

struct WeightOptions {
  std::vector<std::string> files;
  bool partial = false;
};

struct CheckOptions {
  ModelOptions model;
};
int run_check(const CheckOptions& options, const Console& console);

struct CompileCommandOptions {
  ModelOptions model;
  std::string output;
  std::vector<std::string> taps;
};
int run_compile(const CompileCommandOptions& options, const Console& console);

struct ShowOptions {
  ModelOptions model;
  std::string as = "table";  ///< table, json, dot, svg, text
  std::string dump_after;    ///< a pass, or "all"
  bool memory = false;       ///< the memory of a training step alone
};
int run_show(const ShowOptions& options, const Console& console);

struct ExplainOptions {
  ModelOptions model;        ///< its file may be a diagnostic's code
  std::string term, layer;   ///< narrow the report
  std::string node;          ///< who hears and reads this node
  std::string without;       ///< the difference that leaving this term out makes
  std::string as = "table";  ///< table, svg
};
int run_explain(const ExplainOptions& options, const Console& console);

struct TrainOptions {
  ModelOptions model;
  DataOptions data;
  WeightOptions weights;
  std::optional<std::int64_t> epochs, steps, batch_size;
  std::optional<std::uint64_t> seed;
  bool no_shuffle = false;
  std::string out;  ///< the run's folder; empty: NAME.run
  bool force = false;
  std::int64_t log_every = 1;
  bool gradient_norms = false;  ///< SPEC only
};
int run_train(const TrainOptions& options, const Console& console);

struct EvaluateOptions {
  ModelOptions model;
  DataOptions data;
  WeightOptions weights;
};
int run_evaluate(const EvaluateOptions& options, const Console& console);

struct PredictOptions {
  ModelOptions model;
  DataOptions data;
  WeightOptions weights;
  std::vector<std::string> at;  ///< nodes; empty: the specification's outputs
  std::string output;           ///< .npy or .npz
};
int run_predict(const PredictOptions& options, const Console& console);

struct GradientOptions {
  ModelOptions model;
  DataOptions data;
  WeightOptions weights;
  std::string term;        ///< empty: the whole loss
  std::int64_t batch = 1;  ///< the training step, from 1
  std::string output;      ///< safetensors
};
int run_gradient(const GradientOptions& options, const Console& console);

struct VerifyCommandOptions {
  ModelOptions model;
  std::int64_t batch_size = 4, samples = 20;
  std::optional<std::uint64_t> seed;  ///< default: the specification's
};
int run_verify(const VerifyCommandOptions& options, const Console& console);

struct BenchOptions {
  ModelOptions model;
  std::int64_t steps = 200;  ///< timed ones
  std::string as = "table";  ///< table, svg
  bool recalibrate = false;  ///< measure the machine's limits anew
};
int run_bench(const BenchOptions& options, const Console& console);

struct WeightsInitOptions {
  ModelOptions model;
  std::optional<std::uint64_t> seed;
  std::string output;
};
int run_weights_init(const WeightsInitOptions& options, const Console& console);

struct WeightsListOptions {
  std::string file;
};
int run_weights_list(const WeightsListOptions& options, const Console& console);

struct WeightsDiffOptions {
  std::string before, after;
};
int run_weights_diff(const WeightsDiffOptions& options, const Console& console);

int run_schema(const Console& console);
int run_doctor(const Console& console);

}  // namespace weir::cli
