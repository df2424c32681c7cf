// Runs a graph in double precision by walking the ops' references. The oracle of the tests and of `weir verify`: slow,
// plain, and independent of everything that lowers, plans and runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "compiler/ir/op.hpp"

namespace weir {

class Interpreter {
 public:
  /// Takes the graph at any stage from build_graph to attach_watchers. Scalars start as in a plan: weights as in the
  /// file, rows = batch, step 1.
  Interpreter(TrainingGraph training, std::int64_t batch);

  /// Dense canonical values of an input, a parameter or a scalar; dims are checked. Throws Error(not_found).
  void set(std::string_view name, Array value);
  void set_scalar(std::string_view name, double value);

  /// Forward, losses, readers and backward nodes; then the same with updates (step counts up, and schedules go on as
  /// in the first epoch).
  void compute();
  void train_step();

  const Array& value(std::string_view name) const;  ///< any value by name, after compute
  const Array& value(ValueId id) const { return arrays_.at(static_cast<std::size_t>(id)); }
  const Array& gradient(std::string_view parameter) const;
  double total() const;  ///< Σ weight × value over the trained terms
  const TrainingGraph& training() const { return training_; }

 private:
  void set(ValueId id, std::string_view name, Array value);
  void run(Section section);
  void run_node(const Node& node);
  void run_post_op(const Node& node);
  void follow_schedules(std::uint64_t updates);

  TrainingGraph training_;
  std::int64_t batch_;
  std::vector<Array> arrays_;  ///< by value
  std::uint64_t updates_ = 0;
};

}  // namespace weir
