// Memory without mathematics: the nodes as kernel steps in execution order, each a closed recipe over values that have
// a physical layout. Reorders are steps. No addresses yet.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compiler/ir/graph.hpp"
#include "runtime/plan.hpp"

namespace weir {

/// Parameter or statistic name → the shape and layout of its home buffer in every program of the plan. The dims may be
/// a view of the canonical ones with the same dense bytes (a grouped kernel).
using HomeShapes = std::map<std::string, Shape>;

/// Target::activation_layout or Target::other_activation_layout.
enum class ImageLayout { usual, other };

/// What assign_layouts found: every node that reads or writes images, or none where the usual layouts are as good.
struct LayoutAssignment {
  struct Entry {
    std::string name;  ///< of the node
    ImageLayout layout = ImageLayout::usual;
  };
  std::map<NodeId, Entry> nodes = {};
  double usual_seconds = 0, seconds = 0;  ///< of the steps and reorders it compared
  int changed = 0;                        ///< nodes whose layout is not the one they would have without it
};

std::string print(const LayoutAssignment& assignment);
void verify(const LayoutAssignment& assignment);

struct LoweredValue {
  std::string name = {};
  BufferClass kind = BufferClass::activation;
  DType dtype = DType::f32;
  Shape shape = {};
  int alias_of = -1;       ///< same bytes under other dims (flatten); the root has -1
  ValueId value = none;    ///< the graph's value; none for scratch
  bool is_scalar = false;  ///< lives in the plan's scalars under `name`
};

enum class Phase { refresh, compute, commit };

struct LoweredStep {
  Recipe recipe;
  std::vector<int> operands;  ///< lowered values, one for each operand of the recipe
  std::string node;           ///< "conv_1", "conv_1 gradient_parameters"
  Phase phase = Phase::compute;
  bool watched = false;
  bool derived = false;  ///< refresh: of copies that other steps of refresh make, so behind them
};

struct LoweredGraph {
  std::int64_t batch = 0;
  std::vector<LoweredValue> values;
  std::vector<LoweredStep> steps;    ///< by phase, then in execution order
  std::map<ValueId, int> inputs;     ///< executed inputs
  std::map<ValueId, int> gradients;  ///< by parameter, in its home layout
  std::map<ValueId, int> taps;       ///< canonical dense
  std::map<ValueId, int> stored;     ///< parameters, statistics and states that steps use, in their home layout
};

std::string print(const LoweredGraph& lowered);
void verify(const LoweredGraph& lowered);

}  // namespace weir
