// weir predict: values of nodes over a set, as .npy (one node) or .npz (several).
#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/exit_codes.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/samples.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/cli/weight_files.hpp"
#include "runtime/data/batches.hpp"
#include "runtime/formats/npy_writer.hpp"
#include "runtime/trainer.hpp"

namespace weir::cli {
namespace {

using Predictions = std::map<std::string, Tensor>;

/// A plan reads what it was compiled to read.
void check_taps(const Model& model, const Program& program, const std::vector<std::string>& wanted) {
  std::vector<std::string> present;
  for (const OutputBinding& output : program.outputs) present.push_back(output.name);
  for (const std::string& node : wanted)
    if (std::find(present.begin(), present.end(), node) == present.end())
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("--at {}: {} has no tap there; it can read {}. Compile it with --tap {}", node,
                              model.file, fmt::join(present, ", "), node));
}

std::vector<std::string> nodes_of(const Program& program, const std::vector<std::string>& wanted) {
  if (!wanted.empty()) return wanted;
  std::vector<std::string> nodes;
  for (const OutputBinding& output : program.outputs) nodes.push_back(output.name);
  return nodes;
}

/// Appends a batch's rows to the whole set's.
void collect(const Predictions& batch, const std::vector<std::string>& nodes, std::int64_t samples, std::int64_t first,
             Predictions& all) {
  for (const std::string& node : nodes) {
    const Tensor& rows = batch.at(node);
    Tensor& whole = all[node];
    if (whole.dims.empty()) {
      Dims dims = rows.dims;
      dims.at(0) = samples;
      whole = Tensor(rows.dtype, std::move(dims));
    }
    const std::size_t row_bytes = whole.bytes.size() / static_cast<std::size_t>(samples);
    std::memcpy(whole.bytes.data() + static_cast<std::size_t>(first) * row_bytes, rows.bytes.data(), rows.bytes.size());
  }
}

Predictions predict_all(Session& session, const Program& program, const Dataset& dataset,
                        const std::vector<std::string>& nodes) {
  BatchFeed feed(dataset, program);
  const Batches batches(dataset.samples(), {program.batch, false, false, 0});
  Predictions all;
  for (std::int64_t batch = 0; batch < batches.count(); ++batch)
    collect(session.predict(feed.gather(batches.batch(batch))), nodes, dataset.samples(), batch * program.batch, all);
  return all;
}

void check_name(const std::string& output, std::size_t nodes) {
  const bool many = output.ends_with(".npz");
  if (!many && !output.ends_with(".npy"))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("-o {}: predictions are written as .npy (one node) or .npz", output));
  if (!many && nodes > 1)
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("-o {}: {} nodes do not fit in one .npy; name an .npz, or one node with --at", output, nodes));
}

void write(const std::string& output, const Predictions& predictions) {
  if (output.ends_with(".npy")) return write_npy(output, predictions.begin()->second);
  std::map<std::string, TensorView> views;
  for (const auto& [node, tensor] : predictions) views.emplace(node, tensor);
  write_npz(output, views);
}

Json prediction_json(const std::string& output, const std::string& set, const Predictions& predictions) {
  Json json{{"file", output}, {"set", set}, {"nodes", Json::object()}};
  for (const auto& [node, tensor] : predictions) json["nodes"][node] = tensor.dims;
  return json;
}

}  // namespace

int run_predict(const PredictOptions& options, const Console& console) {
  const Model model = load_model(options.model, console, {}, false);
  CompileOptions compile_options;
  compile_options.train = compile_options.evaluate = false;
  compile_options.taps = options.at;
  const auto plan = plan_of(model, options.model, compile_options, console);
  const Program* program = largest_program(*plan, ProgramKind::predict);
  if (!program) throw Error(ErrorCode::invalid_argument, fmt::format("{} has no predict program", model.file));
  check_taps(model, *program, options.at);
  const std::vector<std::string> nodes = nodes_of(*program, options.at);
  check_name(options.output, nodes.size());
  const Dataset dataset = open_set(model, options.data, options.data.set, program->inputs, console);
  Session session(plan, {.seed = plan->training.seed});
  load_weights(session, options.weights, console);
  tell_untrained(options.weights, console);
  const Predictions predictions = predict_all(session, *program, dataset, nodes);
  write(options.output, predictions);
  if (console.json)
    console.out << prediction_json(options.output, options.data.set, predictions).dump(2) << '\n';
  else
    for (const auto& [node, tensor] : predictions)
      console.out << fmt::format("wrote {}: {} {}\n", options.output, node, to_string(tensor.dims));
  return done;
}

}  // namespace weir::cli
