// The op record: everything weir knows about an op stands in one file of compiler/ops/ and is read from here by the
// parser, the schema, the docs, the passes, the interpreter and the tests. Passes know no op by name; ops know no pass.
#pragma once

#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/ir/graph.hpp"
#include "runtime/recipe.hpp"

namespace weir {

/// layer: written in `layers`. loss: in `loss.terms` and `metrics`. metric: in `metrics`. optimizer: in
/// `train.optimizer`. regularizer, constraint: of a layer's parameter ("kernel_regularizer") or, a regularizer, of its
/// output ("activity_regularizer"). internal: no word of the specification (gradients, statistics updates, one_hot).
enum class Role { layer, loss, metric, optimizer, regularizer, constraint, internal };

enum class OperandKind {
  value,      ///< an activation; its gradient may be wanted
  variadic,   ///< one or more activations (add, concatenate); last in the list
  parameter,  ///< declared by infer, trainable
  statistic,  ///< declared by infer, moved by training, never differentiated
  target,     ///< what a loss compares with; absent where the target is a constant
  scalar,     ///< f64: learning_rate, step, rows, seed, weight.<term>
  state,      ///< optimizer: read and rewritten
};

struct OperandDef {
  std::string_view name;
  OperandKind kind = OperandKind::value;
  bool optional = false;
};

enum class AttributeType {
  flag,
  integer,
  number,
  word,
  sizes,        ///< `count` integers; one number in the file stands for all
  integers,     ///< a list of integers of any length ≥ 1 (a shape)
  numbers,      ///< a list of numbers of any length ≥ 1 (class weights)
  padding,      ///< "valid", "same" or [[top, bottom], [left, right]]; held as a word or as four integers
  initializer,  ///< a Keras identifier or {"type": …}
  activation,   ///< a word: name of a layer op whose record has `activation`; "linear" and absent mean none
  axis,         ///< a negative integer, counted from the end
  axes,         ///< axes of a parameter: an integer or a list of them, from the front (0 …) or from the end (-1 …)
};

struct AttributeDef {
  std::string_view name;
  AttributeType type = AttributeType::number;
  std::string_view doc;
  std::optional<AttributeValue> standard = {};  ///< the default; required where there is none and `optional` is false
  bool optional = false;                        ///< may be absent with no default
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool exclusive_least = false;  ///< value > least instead of ≥
  bool exclusive_most = false;
  std::vector<std::string_view> words = {};  ///< word: the allowed ones
  int count = 0;                             ///< sizes: how many
  bool later = false;                        ///< known, refused with "not supported yet"
  bool scheduled = false;  ///< number of a layer: may be a schedule; then it is the optional scalar operand of the
                           ///< same name, and no attribute
  std::optional<AttributeValue> pytorch = {};  ///< the default in profile pytorch, where it is another
};

class InferContext;
class InsteadContext;
struct Instead;
class GradientContext;
class LowerContext;
class ReferenceContext;

/// One small case that drives the shape, forward, gradient, compiled and repeated-use tests, and the docs.
struct Example {
  std::string_view name;           ///< "odd_size_same_padding"
  std::vector<TensorType> inputs;  ///< value, variadic and target operands, in order
  Attributes attributes = {};      ///< beside the defaults
  bool training = true;
  /// Values for the operand at `index`; default: distinct values of both signs, away from kinks. Classes for i32.
  std::function<double(std::size_t operand, std::int64_t element)> fill = {};
  std::int64_t batch = 3;
  double tolerance = 1e-4;  ///< of compiled f32 gradients, relative to the largest entry; larger only with a reason
};

struct OpDef {
  std::string_view name;      ///< the word in the specification, and the file's stem
  std::string_view summary;   ///< one line for the docs
  std::string_view equation;  ///< plain text; names its operands
  Role role = Role::layer;
  std::vector<OperandDef> operands = {};
  std::vector<std::string_view> results = {"output"};  ///< further ones (workspace, batch statistics) are private
  std::vector<AttributeDef> attributes = {};
  std::vector<std::string_view> constraints = {};  ///< "C1: …"; InferContext::fail cites the number

  void (*infer)(InferContext&) = nullptr;
  void (*gradient)(GradientContext&) = nullptr;  ///< empty with no_gradient set, else our mistake when asked
  bool no_gradient = false;
  void (*lower)(LowerContext&) = nullptr;
  void (*reference)(ReferenceContext&) = nullptr;
  /// layer: another op that gives the same first result with less work, where the record knows one.
  std::optional<Instead> (*instead)(const InsteadContext&) = nullptr;

  /// What profile pytorch computes otherwise, for people. Where it is not empty, nodes of that profile carry the
  /// setting "numerics": "pytorch" (is_pytorch).
  std::string_view pytorch = {};

  // Facts that generic passes read.
  bool activation = false;        ///< may stand as the `activation` of a layer that has that attribute
  std::string_view post_op = {};  ///< elementwise algorithm that a producer can run on its result ("relu", "tanh",
                                  ///< "logistic"); its gradient reads the output
  bool accepts_post_op = false;   ///< can run a post_op in the same step; its gradient does not read its own result
  std::string_view logits_behind =
      {};  ///< loss: reads the input of this layer op where `at` is one ("softmax", "sigmoid"); see from_logits
  bool class_target =
      false;  ///< loss, metric: an i32 target with `one_hot` is read as classes, without a one-hot tensor
  bool integer_target = false;   ///< loss, metric: the target must be i32 classes, without a class axis (sparse_…)
  bool no_target = false;        ///< loss `value`, metric `mean`: takes no target
  bool classification = false;   ///< loss: compares classes or distributions, so that a learned weight takes it whole,
                                 ///< not its half (uncertainty)
  bool entry_each = false;       ///< loss, metric: the unreduced loss has a number for every entry of the node, not one
                                 ///< for every row along the last axis
  bool target_gradient = false;  ///< loss: its gradient gives that of the target too, where the node's attribute
                                 ///< "target_gradient" asks for it
  std::string_view instead_of_constant = {};  ///< loss: against a constant it only pushes its predictions up, whatever
                                              ///< the constant, but where they add up to 1; this op holds units near a
                                              ///< value (kl_divergence: "kl_sparsity")
  bool sums_to_one = false;                   ///< layer: entries along the last axis add up to 1 (softmax)
  bool identity_in_evaluation = false;        ///< dropout: where training is off, the output is the input
  std::string_view gradient_factor = {};  ///< layer: its gradient is not the true one but that times this attribute or
                                          ///< scalar operand (gradient_scale)
  bool frozen_is_evaluation = false;      ///< batch_normalization: with trainable false it uses its moving statistics
  bool carries_integers = false;          ///< only moves values: i32 passes through
  std::string_view index_bound = {};      ///< the i32 operand holds 0 to this attribute - 1 (embedding: "input_dim")
  std::vector<std::string_view> slots = {};         ///< optimizer: names of its state operands
  bool (*uses_slots)(const Attributes&) = nullptr;  ///< optimizer: whether these settings need the slots; empty: always
  bool by_axes = false;   ///< constraint: looks along the parameter's axes, so that its home layout is canonical
  bool masks = false;     ///< gradient: its first operand where the second, the layer's result, fulfils something
                          ///< entry by entry, else 0 (relu)
  bool scatters = false;  ///< gradient of a layer whose results are entries of its input (max pooling): adds each entry
                          ///< of the first operand to the entry that was taken
  bool sums = false;      ///< layer: the sum of its operands, whose gradients are that of the result
  const OpDef* fused = nullptr;  ///< layer: the same, and then "addend" added and a post_op whose gradient masks; its
                                 ///< gradient: the same of what the mask leaves of "d_output", which is one result more
  double gradient_bound = 0;     ///< optimizer: largest |g| its formula survives (Adam squares g); 0: any finite
  bool scale_free = false;       ///< optimizer: gradients times a factor take the same step, but for epsilon (Adam)

  std::vector<Example> examples = {};
  std::vector<const OpDef*> internals = {};  ///< private ops of this file ("conv2d.gradient_kernel"), tested with it
};

std::span<const OpDef* const> ops_table();    ///< generated from the folder, sorted by name
const OpDef* find_op(std::string_view name);  ///< among the table and all internals; null where there is none

/// Ops that passes themselves insert: "add_gradients", "moving_average", "one_hot". Missing is our mistake.
const OpDef& structural_op(std::string_view name);

const AttributeDef* find_attribute(const OpDef& op, std::string_view name);
/// The given attributes over the record's defaults in that profile ("keras", "keras-probabilities", "pytorch").
Attributes with_defaults(const OpDef& op, Attributes given, std::string_view numerics = "keras");
inline bool is_pytorch(const Attributes& attributes) {
  return attributes.is_word("numerics") && attributes.word("numerics") == "pytorch";
}

/// A named position in the record: operand index, result index. For variadic, the first.
int operand_index(const OpDef& op, std::string_view name);
int result_index(const OpDef& op, std::string_view name);

// ----------------------------------------------------------------------------------------------------------------
// infer: result types from operand types; a layer declares its parameters here.

struct ParameterDeclaration {
  std::string name;
  Dims dims;
  std::string axes;  ///< "hwio", "io", "o"
  Initializer initializer;
  bool statistic = false;
  std::string follows;  ///< statistic: the private result it moves towards
  double momentum = 0;
  std::int64_t unbiased_over = 0;  ///< statistic: values a sample of a biased variance that is to be made unbiased
};

class InferContext {
 public:
  InferContext(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  const Attributes& attributes() const { return node_.attributes; }
  bool training() const { return node_.training; }
  bool has(std::string_view operand) const;
  const TensorType& operand(std::string_view name) const;
  std::vector<TensorType> variadic(std::string_view name) const;
  /// Of the forward node (in the infer of a gradient op).
  const TensorType& forward_operand(std::string_view name) const;

  void result(std::string_view name, TensorType type);
  /// The initializer is the attribute "<name>_initializer".
  void parameter(std::string_view name, Dims dims, std::string_view axes);
  void statistic(std::string_view name, Dims dims, std::string_view axes, std::string_view follows, double momentum,
                 std::int64_t unbiased_over = 0);
  /// A user's mistake: ends infer. constraint: its number in the record (0: none).
  [[noreturn]] void fail(int constraint, const std::string& message) const;

  std::vector<TensorType> results;  ///< read by the caller, in the record's order
  std::vector<ParameterDeclaration> parameters;

 private:
  const Graph& graph_;
  const Node& node_;
};

struct InferFailure {
  int constraint;
  std::string message;
};

// ----------------------------------------------------------------------------------------------------------------
// instead: which op may take a layer's place.

/// operands: in the order of that op's record, `none` for an optional one that is absent.
struct Instead {
  const OpDef* op;
  std::vector<ValueId> operands;
  Attributes attributes;
};

class InsteadContext {
 public:
  InsteadContext(const TrainingGraph& training, NodeId node) : training_(training), node_(training.graph.node(node)) {}

  const Attributes& attributes() const { return node_.attributes; }
  ValueId operand(std::string_view name) const;
  const TensorType& type(ValueId value) const { return training_.graph.at(value).type; }
  /// The layer whose result the value is, if whoever reads the value may as well read what that layer reads: null where
  /// the gradient of some term ends at the value.
  const Node* producer(ValueId value) const;

 private:
  const TrainingGraph& training_;
  const Node& node_;
};

// ----------------------------------------------------------------------------------------------------------------
// gradient: emits nodes for the wanted operands.

class GradientContext {
 public:
  /// gradients: of the node's results, `none` where nothing flows. wanted: one flag for each operand.
  GradientContext(Graph& graph, NodeId node, std::vector<ValueId> gradients, std::vector<bool> wanted);

  const Attributes& attributes() const;
  bool training() const;
  bool wants(std::string_view operand) const;
  bool wants(std::size_t index) const { return wanted_.at(index); }
  std::size_t operand_count() const { return wanted_.size(); }
  ValueId operand(std::string_view name) const;
  ValueId operand(std::size_t index) const;
  ValueId result(std::string_view name) const;
  ValueId gradient(std::string_view result = "output") const;  ///< of a result
  ValueId scalar(std::string_view name);                       ///< "rows", "seed", "step": found or created
  const TensorType& type(ValueId value) const;

  /// Adds a gradient node of this op's file; attributes: the forward node's where not given. Returns its results.
  std::vector<ValueId> emit(const OpDef& op, std::vector<ValueId> operands);
  std::vector<ValueId> emit(const OpDef& op, std::vector<ValueId> operands, Attributes attributes);
  void set(std::string_view operand, ValueId gradient);
  void set(std::size_t operand, ValueId gradient);

  std::vector<ValueId> results;  ///< read by the caller: one for each operand, `none` where not set

 private:
  Graph& graph_;
  NodeId node_;
  std::vector<ValueId> gradients_;
  std::vector<bool> wanted_;
};

// ----------------------------------------------------------------------------------------------------------------
// reference: naive loops in double over dense canonical tensors, batch included. The oracle; never used in production.

struct Array {
  Dims dims;
  std::vector<double> data;
  explicit Array(Dims dims = {}) : dims(std::move(dims)), data(static_cast<std::size_t>(element_count(this->dims))) {}
  double& operator[](std::int64_t i) { return data[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return data[static_cast<std::size_t>(i)]; }
  std::int64_t count() const { return static_cast<std::int64_t>(data.size()); }
  /// Element at a full index, checked.
  double& at(std::initializer_list<std::int64_t> index);
  double at(std::initializer_list<std::int64_t> index) const;
};

class ReferenceContext {
 public:
  ReferenceContext(const Node& node, std::vector<Array*> operands, std::vector<Array*> results, std::int64_t batch)
      : node_(node), operands_(std::move(operands)), results_(std::move(results)), batch_(batch) {}

  const Attributes& attributes() const { return node_.attributes; }
  const Node& node() const { return node_; }
  bool training() const { return node_.training; }
  std::int64_t batch() const { return batch_; }
  bool has(std::string_view operand) const;
  Array& operand(std::string_view name);  ///< states and parameters of an optimizer are written through this
  std::size_t operand_count() const { return operands_.size(); }
  Array& operand(std::size_t index) { return *operands_.at(index); }
  double scalar(std::string_view name) { return operand(name)[0]; }
  Array& result(std::string_view name = "output");

 private:
  const Node& node_;
  std::vector<Array*> operands_, results_;
  std::int64_t batch_;
};

// ----------------------------------------------------------------------------------------------------------------
// lower: node → recipes. The builder asks the Target, inserts reorders and scratch, and adds the step.

class KernelBuilder;

/// What lower sees of one value at one batch size.
struct LoweredType {
  DType dtype;
  Shape shape;  ///< full dims, canonical axes, the layout it has now
};

class LowerContext {
 public:
  virtual ~LowerContext() = default;

  virtual const Node& node() const = 0;
  const Attributes& attributes() const { return node().attributes; }
  bool training() const { return node().training; }
  virtual std::int64_t batch() const = 0;
  virtual bool has(std::string_view operand) const = 0;
  virtual std::size_t operand_count() const = 0;
  virtual std::string operand_name(std::size_t index) const = 0;  ///< variadic ones as "input_0", "input_1", …
  virtual LoweredType operand(std::string_view name) const = 0;   ///< with its present layout; a parameter: canonical
  virtual LoweredType result(std::string_view name) const = 0;    ///< layout "" until a kernel writes it
  /// The layout activations of this shape should have here (Target::activation_layout).
  virtual std::string activation_layout(const LoweredType& type) const = 0;

  /// The result is the operand's bytes under its own dims (flatten, reshape, an identity): canonical layout, no step.
  virtual void alias(std::string_view result, std::string_view operand) = 0;

  KernelBuilder kernel(std::string_view name);

 protected:
  friend class KernelBuilder;
  /// operands: role → the op's operand or result name, in the recipe's order.
  virtual void emit(Recipe open, const std::vector<std::string>& names) = 0;
};

/// c.kernel("convolution_forward").read("src", "input", layout).read("weights", "kernel", "any").write("dst", "output",
/// layout)
///     .set("strides", …).emit();
/// Layouts: "any" lets the target choose; "" keeps the operand's present one (read) or takes canonical dense (write).
class KernelBuilder {
 public:
  KernelBuilder(LowerContext& context, std::string_view kernel);

  KernelBuilder& read(std::string_view role, std::string_view operand, std::string layout = "");
  KernelBuilder& write(std::string_view role, std::string_view result, std::string layout = "");
  KernelBuilder& update(std::string_view role,
                        std::string_view operand);  ///< optimizer state and parameters, home layout
  /// The same bytes under other dims and axes; the operand (result) is in canonical dense layout then.
  KernelBuilder& read_as(std::string_view role, std::string_view operand, Dims dims, const std::string& axes,
                         std::string layout = "");
  KernelBuilder& write_as(std::string_view role, std::string_view result, Dims dims, const std::string& axes,
                          std::string layout = "");
  KernelBuilder& set(std::string name, AttributeValue value);
  KernelBuilder& threads(int count);  ///< default: the target's
  /// Adds "post_op" (the algorithm's word) where the node carries one.
  KernelBuilder& with_post_op();
  void emit();

 private:
  KernelBuilder& add(std::string_view role, std::string_view name, Access access, DType dtype, Shape shape);
  LowerContext& context_;
  Recipe recipe_;
  std::vector<std::string> names_;
};

}  // namespace weir
