#include "compiler/interpret/interpret.hpp"

#include "runtime/error.hpp"

namespace weir {

Interpreter::Interpreter(TrainingGraph training, std::int64_t batch) : training_(std::move(training)), batch_(batch) {
  for (const Value& value : training_.graph.values) arrays_.emplace_back(full_dims(value.type, batch));
  follow_schedules(0);
  if (training_.graph.find_scalar("rows") != none) set_scalar("rows", static_cast<double>(batch));
  if (training_.graph.find_scalar("step") != none) set_scalar("step", 1);
}

void Interpreter::set(std::string_view name, Array value) {
  const ValueId node = training_.graph.find(name);
  set(node != none ? node : training_.graph.find_scalar(name), name, std::move(value));
}

void Interpreter::set(ValueId id, std::string_view name, Array value) {
  if (id == none) throw Error(ErrorCode::not_found, "the graph has no value \"" + std::string(name) + "\"");
  Array& array = arrays_[static_cast<std::size_t>(id)];
  if (array.dims != value.dims)
    throw Error(ErrorCode::invalid_argument,
                std::string(name) + " is " + to_string(array.dims) + ", got " + to_string(value.dims));
  array = std::move(value);
}

void Interpreter::set_scalar(std::string_view name, double value) {
  Array array{Dims{}};
  array[0] = value;
  set(training_.graph.find_scalar(name), name, std::move(array));
}

void Interpreter::compute() {
  for (Section section : {Section::forward, Section::loss, Section::watch, Section::backward}) run(section);
}

void Interpreter::train_step() {
  compute();
  run(Section::update);
  if (const ValueId step = training_.graph.find_scalar("step"); step != none)
    arrays_[static_cast<std::size_t>(step)][0] += 1;
  follow_schedules(++updates_);
}

void Interpreter::follow_schedules(std::uint64_t updates) {
  const Graph& graph = training_.graph;
  double sum = 0;
  const auto at = [&](ValueId id) -> double& { return arrays_[static_cast<std::size_t>(id)][0]; };
  for (ValueId id = 0; id < static_cast<ValueId>(graph.values.size()); ++id)
    if (graph.at(id).schedule) at(id) = value_at(*graph.at(id).schedule, updates);
  for (const LossTerm& term : training_.terms) {
    if (term.weight == none) continue;
    if (!graph.at(term.settable()).schedule) at(term.settable()) = term.given_weight;
    if (!term.regularizer) sum += at(term.weight);
  }
  if (!training_.normalized) return;
  for (const LossTerm& term : training_.terms)
    if (term.weight != none && !term.regularizer) at(term.weight) = sum == 0 ? 0 : at(term.weight) / sum;
}

void Interpreter::run(Section section) {
  for (const Node& node : training_.graph.nodes)
    if (node.live && node.section == section) run_node(node);
}

void Interpreter::run_node(const Node& node) {
  WEIR_CHECK(node.op->reference, std::string(node.op->name) + " has no reference");
  std::vector<Array*> operands, results;
  for (ValueId id : node.operands) operands.push_back(id == none ? nullptr : &arrays_[static_cast<std::size_t>(id)]);
  for (ValueId id : node.results) {
    results.push_back(id == none ? nullptr : &arrays_[static_cast<std::size_t>(id)]);
    if (id != none) *results.back() = Array(results.back()->dims);
  }
  ReferenceContext context(node, operands, results, batch_);
  node.op->reference(context);
  if (node.post_op) run_post_op(node);
}

void Interpreter::run_post_op(const Node& node) {
  Array& result = arrays_[static_cast<std::size_t>(node.results.front())];
  Array linear = result;
  result = Array(linear.dims);
  Node post{.op = node.post_op, .name = node.name, .attributes = with_defaults(*node.post_op, {})};
  post.training = node.training;
  ReferenceContext context(post, {&linear}, {&result}, batch_);
  node.post_op->reference(context);
}

const Array& Interpreter::value(std::string_view name) const {
  const ValueId id = training_.graph.find(name);
  if (id == none) throw Error(ErrorCode::not_found, "the graph has no value \"" + std::string(name) + "\"");
  return value(id);
}

const Array& Interpreter::gradient(std::string_view parameter) const {
  const auto found = training_.gradients.find(training_.graph.find(parameter));
  if (found == training_.gradients.end())
    throw Error(ErrorCode::not_found, "no trained term reaches \"" + std::string(parameter) + "\"");
  return value(found->second);
}

double Interpreter::total() const {
  double sum = 0;
  for (const LossTerm& term : training_.terms)
    if (term.role == TermRole::trained) {
      const double weight = value(term.weight)[0];
      sum += weight == 0 ? 0 : weight * value(term.shown())[0];
    }
  return sum;
}

}  // namespace weir
