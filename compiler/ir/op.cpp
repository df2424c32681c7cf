// The contexts through which an op's functions see the graph.
#include "compiler/ir/op.hpp"

#include <algorithm>

#include "compiler/ir/initializer_key.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

template <class Visit>
const OpDef* search(std::span<const OpDef* const> table, const Visit& wanted) {
  for (const OpDef* op : table) {
    if (wanted(*op)) return op;
    if (const OpDef* found = search(std::span<const OpDef* const>(op->internals), wanted)) return found;
  }
  return nullptr;
}

}  // namespace

const OpDef* find_op(std::string_view name) {
  return search(ops_table(), [&](const OpDef& op) { return op.name == name; });
}

const OpDef& structural_op(std::string_view name) {
  const OpDef* op = find_op(name);
  WEIR_CHECK(op && op->role == Role::internal, "there is no structural op " + std::string(name));
  return *op;
}

const AttributeDef* find_attribute(const OpDef& op, std::string_view name) {
  for (const AttributeDef& attribute : op.attributes)
    if (attribute.name == name) return &attribute;
  return nullptr;
}

Attributes with_defaults(const OpDef& op, Attributes given, std::string_view numerics) {
  const bool pytorch = numerics == "pytorch";
  for (const AttributeDef& attribute : op.attributes) {
    const auto& standard = pytorch && attribute.pytorch ? attribute.pytorch : attribute.standard;
    if (standard && !given.has(attribute.name)) given.set(std::string(attribute.name), *standard);
  }
  if (pytorch && !op.pytorch.empty()) given.set("numerics", std::string("pytorch"));
  return given;
}

int operand_index(const OpDef& op, std::string_view name) {
  for (std::size_t i = 0; i < op.operands.size(); ++i)
    if (op.operands[i].name == name) return static_cast<int>(i);
  const bool variadic = !op.operands.empty() && op.operands.back().kind == OperandKind::variadic;
  const std::string prefix = variadic ? std::string(op.operands.back().name) + "_" : "";
  WEIR_CHECK(variadic && name.starts_with(prefix), std::string(op.name) + " has no operand " + std::string(name));
  return static_cast<int>(op.operands.size()) - 1 + std::stoi(std::string(name.substr(prefix.size())));
}

int result_index(const OpDef& op, std::string_view name) {
  const auto found = std::find(op.results.begin(), op.results.end(), name);
  WEIR_CHECK(found != op.results.end(), std::string(op.name) + " has no result " + std::string(name));
  return static_cast<int>(found - op.results.begin());
}

namespace {

ValueId operand_of(const Node& node, std::string_view name) {
  const auto index = static_cast<std::size_t>(operand_index(*node.op, name));
  return index < node.operands.size() ? node.operands[index] : none;
}

}  // namespace

bool InferContext::has(std::string_view operand) const { return operand_of(node_, operand) != none; }

const TensorType& InferContext::operand(std::string_view name) const {
  const ValueId id = operand_of(node_, name);
  WEIR_CHECK(id != none, node_.name + ": operand " + std::string(name) + " is absent");
  return graph_.at(id).type;
}

std::vector<TensorType> InferContext::variadic(std::string_view name) const {
  std::vector<TensorType> types;
  for (auto i = static_cast<std::size_t>(operand_index(*node_.op, name)); i < node_.operands.size(); ++i)
    types.push_back(graph_.at(node_.operands[i]).type);
  return types;
}

const TensorType& InferContext::forward_operand(std::string_view name) const {
  WEIR_CHECK(node_.forward != none, node_.name + " has no forward node");
  const ValueId id = operand_of(graph_.node(node_.forward), name);
  WEIR_CHECK(id != none, node_.name + ": forward operand " + std::string(name) + " is absent");
  return graph_.at(id).type;
}

void InferContext::result(std::string_view name, TensorType type) {
  const auto index = static_cast<std::size_t>(result_index(*node_.op, name));
  if (results.size() <= index) results.resize(index + 1);
  results[index] = std::move(type);
}

void InferContext::parameter(std::string_view name, Dims dims, std::string_view axes) {
  const std::string key = initializer_key(attributes(), name);
  parameters.push_back(
      {std::string(name), std::move(dims), std::string(axes), attributes().initializer(key), false, "", 0});
}

void InferContext::statistic(std::string_view name, Dims dims, std::string_view axes, std::string_view follows,
                             double momentum, std::int64_t unbiased_over) {
  const std::string key = std::string(name) + "_initializer";
  parameters.push_back({std::string(name), std::move(dims), std::string(axes), attributes().initializer(key), true,
                        std::string(follows), momentum, unbiased_over});
}

void InferContext::fail(int constraint, const std::string& message) const { throw InferFailure{constraint, message}; }

ValueId InsteadContext::operand(std::string_view name) const { return operand_of(node_, name); }

const Node* InsteadContext::producer(ValueId value) const {
  const Value& of = training_.graph.at(value);
  if (of.kind != ValueKind::result || of.producer == none || of.stop_gradient) return nullptr;
  for (const LossTerm& term : training_.terms)
    if (term.stop_at.contains(value)) return nullptr;
  const Node& producer = training_.graph.node(of.producer);
  return producer.live && producer.section == Section::forward && !producer.post_op ? &producer : nullptr;
}

GradientContext::GradientContext(Graph& graph, NodeId node, std::vector<ValueId> gradients, std::vector<bool> wanted)
    : results(wanted.size(), none),
      graph_(graph),
      node_(node),
      gradients_(std::move(gradients)),
      wanted_(std::move(wanted)) {}

const Attributes& GradientContext::attributes() const { return graph_.node(node_).attributes; }
bool GradientContext::training() const { return graph_.node(node_).training; }

bool GradientContext::wants(std::string_view name) const {
  const auto index = static_cast<std::size_t>(operand_index(*graph_.node(node_).op, name));
  return index < wanted_.size() && wanted_[index];
}

ValueId GradientContext::operand(std::string_view name) const { return operand_of(graph_.node(node_), name); }
ValueId GradientContext::operand(std::size_t index) const { return graph_.node(node_).operands.at(index); }

ValueId GradientContext::result(std::string_view name) const {
  return graph_.node(node_).results.at(static_cast<std::size_t>(result_index(*graph_.node(node_).op, name)));
}

ValueId GradientContext::gradient(std::string_view result) const {
  return gradients_.at(static_cast<std::size_t>(result_index(*graph_.node(node_).op, result)));
}

ValueId GradientContext::scalar(std::string_view name) { return graph_.scalar(name); }

const TensorType& GradientContext::type(ValueId value) const { return graph_.at(value).type; }

std::vector<ValueId> GradientContext::emit(const OpDef& op, std::vector<ValueId> operands) {
  return emit(op, std::move(operands), attributes());
}

std::vector<ValueId> GradientContext::emit(const OpDef& op, std::vector<ValueId> operands, Attributes attributes) {
  Node node{
      .op = &op, .name = graph_.node(node_).name, .operands = std::move(operands), .attributes = std::move(attributes)};
  node.forward = node_;
  node.section = Section::backward;
  node.training = graph_.node(node_).training;
  node.place = graph_.node(node_).place;
  InferContext context(graph_, node);
  op.infer(context);
  for (std::size_t i = 0; i < context.results.size(); ++i) {
    Value value{.name = node.name + "." + std::string(op.results.at(i)), .type = context.results[i]};
    value.axes = value.type.batched ? activation_axes(value.type.dims.size())
                                    : std::string("opqrst").substr(0, value.type.dims.size());
    node.results.push_back(graph_.add_value(std::move(value)));
  }
  std::vector<ValueId> made = node.results;
  graph_.add_node(std::move(node));
  return made;
}

void GradientContext::set(std::string_view operand, ValueId gradient) {
  set(static_cast<std::size_t>(operand_index(*graph_.node(node_).op, operand)), gradient);
}

void GradientContext::set(std::size_t operand, ValueId gradient) {
  const Value& of = graph_.at(graph_.node(node_).operands.at(operand));
  WEIR_CHECK(graph_.at(gradient).type == of.type,
             graph_.node(node_).name + ": the gradient of " + of.name + " has another type than it");
  graph_.at(gradient).axes = of.axes;
  results.at(operand) = gradient;
}

namespace {

std::size_t flat(const Dims& dims, std::initializer_list<std::int64_t> index) {
  WEIR_CHECK(index.size() == dims.size(),
             "an index of rank " + std::to_string(index.size()) + " for " + to_string(dims));
  std::int64_t position = 0;
  std::size_t axis = 0;
  for (std::int64_t i : index) {
    WEIR_CHECK(i >= 0 && i < dims[axis], "index outside " + to_string(dims));
    position = position * dims[axis++] + i;
  }
  return static_cast<std::size_t>(position);
}

}  // namespace

double& Array::at(std::initializer_list<std::int64_t> index) { return data[flat(dims, index)]; }
double Array::at(std::initializer_list<std::int64_t> index) const { return data[flat(dims, index)]; }

bool ReferenceContext::has(std::string_view name) const {
  const auto index = static_cast<std::size_t>(operand_index(*node_.op, name));
  return index < operands_.size() && operands_[index];
}

Array& ReferenceContext::operand(std::string_view name) {
  WEIR_CHECK(has(name), node_.name + ": operand " + std::string(name) + " is absent");
  return *operands_[static_cast<std::size_t>(operand_index(*node_.op, name))];
}

Array& ReferenceContext::result(std::string_view name) {
  return *results_.at(static_cast<std::size_t>(result_index(*node_.op, name)));
}

KernelBuilder LowerContext::kernel(std::string_view name) { return KernelBuilder(*this, name); }

KernelBuilder::KernelBuilder(LowerContext& context, std::string_view kernel) : context_(context) {
  recipe_.kernel = std::string(kernel);
  recipe_.threads = 0;  // the target's
}

KernelBuilder& KernelBuilder::add(std::string_view role, std::string_view name, Access access, DType dtype,
                                  Shape shape) {
  recipe_.operands.push_back({std::string(role), access, dtype, std::move(shape)});
  names_.emplace_back(name);
  return *this;
}

KernelBuilder& KernelBuilder::read(std::string_view role, std::string_view operand, std::string layout) {
  LoweredType type = context_.operand(operand);
  if (!layout.empty()) type.shape.layout = std::move(layout);
  return add(role, operand, Access::read, type.dtype, type.shape);
}

KernelBuilder& KernelBuilder::write(std::string_view role, std::string_view result, std::string layout) {
  LoweredType type = context_.result(result);
  type.shape.layout = layout.empty() ? type.shape.axes : std::move(layout);
  return add(role, result, Access::write, type.dtype, type.shape);
}

KernelBuilder& KernelBuilder::update(std::string_view role, std::string_view operand) {
  const LoweredType type = context_.operand(operand);
  return add(role, operand, Access::update, type.dtype, type.shape);
}

KernelBuilder& KernelBuilder::read_as(std::string_view role, std::string_view operand, Dims dims,
                                      const std::string& axes, std::string layout) {
  const LoweredType type = context_.operand(operand);
  Shape shape{std::move(dims), axes, layout.empty() ? axes : std::move(layout)};
  return add(role, operand, Access::read, type.dtype, std::move(shape));
}

KernelBuilder& KernelBuilder::write_as(std::string_view role, std::string_view result, Dims dims,
                                       const std::string& axes, std::string layout) {
  const LoweredType type = context_.result(result);
  Shape shape{std::move(dims), axes, layout.empty() ? axes : std::move(layout)};
  return add(role, result, Access::write, type.dtype, std::move(shape));
}

KernelBuilder& KernelBuilder::set(std::string name, AttributeValue value) {
  recipe_.attributes.set(std::move(name), std::move(value));
  return *this;
}

KernelBuilder& KernelBuilder::threads(int count) {
  recipe_.threads = count;
  return *this;
}

KernelBuilder& KernelBuilder::with_post_op() {
  if (const OpDef* post = context_.node().post_op) set("post_op", std::string(post->post_op));
  return *this;
}

void KernelBuilder::emit() { context_.emit(std::move(recipe_), names_); }

}  // namespace weir
