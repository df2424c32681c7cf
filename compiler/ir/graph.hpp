// The network as a graph of values and nodes, forward and (after differentiate) backward and update.
//
// Ids are indices and stay valid: passes append and switch nodes off (`live`), they never renumber. Nodes stand in an
// order in which every operand is produced before it is read.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/diagnostic.hpp"
#include "compiler/ir/types.hpp"
#include "runtime/attribute.hpp"
#include "runtime/schedule.hpp"

namespace weir {

struct OpDef;

using ValueId = int;
using NodeId = int;
inline constexpr int none = -1;

enum class ValueKind { input, parameter, statistic, state, scalar, result };

struct Value {
  std::string name =
      {};  ///< unique: the user's node name, "<layer>:linear", "<layer>.kernel", "d.<name>", "weight.<term>"
  ValueKind kind = ValueKind::result;
  TensorType type = {};
  std::string axes = {};   ///< canonical axis letters of the whole tensor, batch included ("nhwc", "hwio", "")
  NodeId producer = none;  ///< result only
  // parameter and statistic
  std::string layer = {};  ///< the owner
  Initializer initializer = {};
  bool trainable = true;
  bool stop_gradient = false;             ///< result: whoever reads it sees a constant, in every term
  ValueId of = none;                      ///< state: the parameter it belongs to
  std::vector<ValueId> follows = {};      ///< statistic: the results it moves towards, one for each use of its layer
  double momentum = 0;                    ///< statistic: new = momentum · old + (1 - momentum) · followed
  std::optional<Schedule> schedule = {};  ///< scalar: what it is at each step, until the host sets it
  std::int64_t unbiased_over = 0;  ///< statistic: not 0: followed · n / (n - 1), n = the batch's rows times this
};

/// watch: readers (watched terms, metrics, taps) and what is executed for them alone.
enum class Section { forward, loss, watch, backward, update };

struct Node {
  const OpDef* op = nullptr;
  std::string name = {};               ///< the user's layer or term name; of a gradient node, that of its forward node
  std::vector<ValueId> operands = {};  ///< in the record's order; `none` for an optional one that is absent
  std::vector<ValueId> results = {};
  Attributes attributes = {};
  NodeId forward = none;  ///< a gradient node's forward node
  Section section = Section::forward;
  bool training = true;  ///< computes as in training (batch statistics, dropout) or as in evaluation
  bool live = true;
  const OpDef* post_op =
      nullptr;       ///< an activation computed in the same step, after op; results[0] is the activation's
  Place place = {};  ///< of the layer or term in the specification
};

struct Graph {
  std::string name;
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<std::string> outputs;                        ///< what predict writes
  std::map<std::string, ValueId, std::less<>> by_name;     ///< all but scalars
  std::map<std::string, ValueId, std::less<>> scalar_ids;  ///< "rows" is one, and may be the name of a layer too

  ValueId add_value(Value value);                    ///< makes the name unique ("d.x.2") where it is taken
  NodeId add_node(Node node);                        ///< sets the results' producer
  ValueId find(std::string_view name) const;         ///< a node, parameter, …; none where there is none
  ValueId find_scalar(std::string_view name) const;  ///< "rows", "step", "weight.<term>"; none where there is none
  ValueId scalar(std::string_view name);             ///< found or added
  /// Parameters and statistics in the order of their owners. Ids are no order to rely on: a layer that shares another's
  /// parameters may come first and make them, even one that is only watched.
  std::vector<ValueId> parameters() const;
  Value& at(ValueId id) { return values.at(static_cast<std::size_t>(id)); }
  const Value& at(ValueId id) const { return values.at(static_cast<std::size_t>(id)); }
  Node& node(NodeId id) { return nodes.at(static_cast<std::size_t>(id)); }
  const Node& node(NodeId id) const { return nodes.at(static_cast<std::size_t>(id)); }
};

enum class TermRole { trained, watched, excluded };

struct LossTerm {
  std::string name = {};
  TermRole role = TermRole::trained;
  ValueId at = none;           ///< the node the user named
  ValueId prediction = none;   ///< what the loss reads: `at`, or the logits behind it
  ValueId value = none;        ///< the scalar result; none for an excluded term
  ValueId weight = none;       ///< trained only: the scalar that seeds the reverse sweep
  ValueId given = none;        ///< the scalar that the host sets, where `weight` is computed from it
  ValueId reported = none;     ///< what reports and totals show, where it is not `value`
  double constant_weight = 1;  ///< what multiplies its value in the first step: of a schedule the first value, and
                               ///< divided by the sum where weights are normalised
  double given_weight = 1;     ///< the same before it is divided
  NodeId node = none;
  std::set<ValueId> stop_at = {};   ///< values at which this term's gradient ends
  std::set<std::string> skip = {};  ///< layers whose parameters get nothing from this term
  std::set<std::string> only = {};  ///< not empty: the only layers whose parameters do
  std::string excluded_by = {};     ///< the entry of `exclude` that took it out
  bool regularizer = false;  ///< a layer's; `at` is the parameter or the layer's node; or a learned weight's part
  Place place = {};

  ValueId settable() const { return given == none ? weight : given; }
  ValueId shown() const { return reported == none ? value : reported; }
};

struct MetricNode {
  std::string name;
  ValueId value = none;
  NodeId node = none;
};

/// Graph + loss terms + gradients. Before differentiate, gradients are empty; an evaluation or prediction graph never
/// has any.
struct TrainingGraph {
  Graph graph = {};
  std::vector<LossTerm> terms = {};  ///< file order, excluded ones too
  std::vector<MetricNode> metrics = {};
  std::map<ValueId, ValueId> gradients =
      {};                          ///< parameter → its gradient, only of parameters that a trained term reaches
  std::vector<ValueId> taps = {};  ///< values that the host wants to read
  bool normalized = false;         ///< each step divides the trained terms' weights by their sum
  bool uncertain = false;          ///< the trained terms' weights are learned
};

/// Stable text: one live node a line, types on every value, sections named.
std::string print(const Graph& graph);
std::string print(const TrainingGraph& graph);

/// Throws Error(internal) naming the node where a stage's rules are broken: an operand read before it is produced, a
/// name used twice, a type that does not fit the record, an update in a graph without gradients.
void verify(const Graph& graph);
void verify(const TrainingGraph& graph);

}  // namespace weir
