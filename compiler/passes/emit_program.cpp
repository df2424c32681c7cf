// Before: steps over values with layouts. After: a program of the plan: lives read off the order of steps (lives.hpp),
// offsets in one arena, every operand a buffer or a scalar. Last, because lives need the final order.
#include <algorithm>

#include "compiler/ir/op.hpp"
#include "compiler/passes/lives.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

class Emitter {
 public:
  Emitter(Plan& plan, ProgramKind kind, const TrainingGraph& training, const LoweredGraph& low)
      : plan_(plan), training_(training), low_(low), buffer_of_(low.values.size(), -1) {
    program_.kind = kind;
    program_.batch = low.batch;
  }

  Program run() {
    place();
    emit_steps();
    bind();
    return std::move(program_);
  }

 private:
  static std::size_t index(int id) { return static_cast<std::size_t>(id); }

  int root(int id) const { return root_of(low_, id); }
  bool in_arena(int id) const { return is_in_arena(low_.values[index(id)]); }

  void place() {
    const ArenaRequests arena = requests_of(timeline_of(low_));
    const MemoryPlan memory = plan_memory(arena.requests);
    for (std::size_t i = 0; i < arena.values.size(); ++i) {
      const LoweredValue& value = low_.values[index(arena.values[i])];
      buffer_of_[index(arena.values[i])] = static_cast<int>(program_.buffers.size());
      program_.buffers.push_back({value.name, value.kind, value.dtype, value.shape, memory.offsets[i]});
    }
    program_.arena_bytes = memory.bytes;
    program_.lower_bound = memory.lower_bound;
  }

  void emit_steps() {
    for (const LoweredStep& lowered : low_.steps) {
      Step step{
          .recipe = recipe_index(lowered.recipe), .operands = {}, .node = lowered.node, .watched = lowered.watched};
      for (int operand : lowered.operands) step.operands.push_back(ref(operand));
      auto& list = lowered.phase == Phase::refresh   ? program_.refresh
                   : lowered.phase == Phase::compute ? program_.compute
                                                     : program_.commit;
      list.push_back(std::move(step));
    }
  }

  int recipe_index(const Recipe& recipe) {
    const auto found = std::find(plan_.recipes.begin(), plan_.recipes.end(), recipe);
    if (found != plan_.recipes.end()) return static_cast<int>(found - plan_.recipes.begin());
    plan_.recipes.push_back(recipe);
    return static_cast<int>(plan_.recipes.size()) - 1;
  }

  /// What the host reads or writes lies in the arena.
  int arena_buffer(int id) {
    const BufferRef found = ref(id);
    WEIR_CHECK(found.space == BufferRef::Space::arena,
               low_.values[index(root(id))].name + " is bound but not in the arena");
    return found.index;
  }

  BufferRef ref(int id) {
    id = root(id);
    const LoweredValue& value = low_.values[index(id)];
    if (value.is_scalar) return {BufferRef::Space::scalar, scalar_of(value.value)};
    if (!in_arena(id)) return {BufferRef::Space::store, store(value)};
    WEIR_CHECK(buffer_of_[index(id)] >= 0, value.name + " has no buffer");
    return {BufferRef::Space::arena, buffer_of_[index(id)]};
  }

  int scalar(const std::string& name) {
    if (const int found = plan_.scalar(name); found >= 0) return found;
    plan_.scalars.push_back({name, 0});
    return static_cast<int>(plan_.scalars.size()) - 1;
  }

  /// With the curve that it follows, listed once whichever program reads it first.
  int scalar_of(ValueId id) {
    const Value& value = training_.graph.at(id);
    const int at = scalar(value.name);
    const auto listed = [&](const ScheduledScalar& one) { return one.scalar == at; };
    if (!value.schedule || std::any_of(plan_.schedules.begin(), plan_.schedules.end(), listed)) return at;
    plan_.scalars[index(at)].initial = value_at(*value.schedule, 0);
    plan_.schedules.push_back({at, *value.schedule});
    return at;
  }

  int store(const LoweredValue& value) {
    for (std::size_t i = 0; i < plan_.store.size(); ++i)
      if (plan_.store[i].name == value.name) return static_cast<int>(i);
    plan_.store.push_back({value.name, value.kind, value.dtype, value.shape, 0});
    const int added = static_cast<int>(plan_.store.size()) - 1;
    if (value.kind == BufferClass::state) add_slot(value, added);
    return added;
  }

  void add_slot(const LoweredValue& value, int buffer) {
    const Value& state = training_.graph.at(value.value);
    const std::string& owner = training_.graph.at(state.of).name;
    for (Parameter& parameter : plan_.parameters)
      if (parameter.name == owner) parameter.state[state.name.substr(owner.size() + 1)] = buffer;
  }

  void bind() {
    const Graph& graph = training_.graph;
    for (const auto& [value, id] : low_.inputs)
      program_.inputs.push_back({graph.at(value).name, graph.at(value).type.dtype, graph.at(value).type.dims,
                                 arena_buffer(id), classes(value)});
    for (InputBinding& binding : program_.inputs) bind_readers(graph.find(binding.name), binding);
    for (const auto& [value, id] : low_.taps)
      program_.outputs.push_back({graph.at(value).name, graph.at(value).type.dims, arena_buffer(id)});
    for (const auto& [value, id] : low_.gradients) bind_gradient(value, id);
    for (const LossTerm& term : training_.terms)
      if (term.value != none)
        program_.terms.push_back({term.name, scalar(graph.at(term.shown()).name),
                                  term.role == TermRole::trained ? scalar(graph.at(term.weight).name) : -1,
                                  denominator(term.node), term.regularizer, settable_weight(term)});
    for (const MetricNode& metric : training_.metrics)
      if (metric.value != none)
        program_.metrics.push_back({metric.name, scalar(graph.at(metric.value).name), denominator(metric.node)});
    if (program_.kind == ProgramKind::train) add_checks();
  }

  /// Sets its first value; -1 where it is the weight itself.
  int settable_weight(const LossTerm& term) {
    if (term.role != TermRole::trained) return -1;
    const int at = scalar_of(term.settable());
    plan_.scalars[index(at)].initial = term.given_weight;
    return term.given == none ? -1 : at;
  }

  /// What a weighted loss or metric is divided by; -1 for others.
  int denominator(NodeId id) {
    const ValueId value = operand(training_.graph.node(id), "denominator");
    return value == none ? -1 : scalar(training_.graph.at(value).name);
  }

  /// none where the op has no such operand, or the node has none there.
  static ValueId operand(const Node& node, std::string_view name) {
    for (std::size_t i = 0; i < std::min(node.operands.size(), node.op->operands.size()); ++i)
      if (node.op->operands[i].name == name) return node.operands[i];
    return none;
  }

  /// The node that says which entries of a target count: the one behind its weights, or the node itself.
  const Node* weigher(const Node& node) const {
    const ValueId weights = operand(node, "entry_weights");
    if (weights != none) return &training_.graph.node(training_.graph.at(weights).producer);
    return operand(node, "mask") != none || node.attributes.has("ignore_class") ? &node : nullptr;
  }

  void bind_readers(ValueId input, InputBinding& binding) {
    const Graph& graph = training_.graph;
    bool partly = false;
    for (const Node& node : graph.nodes) {
      if (!node.live || node.section == Section::backward) continue;
      for (std::size_t i = 0; i < node.operands.size(); ++i) {
        if (node.operands[i] != input) continue;
        binding.readers.push_back(reader(node, i));
        partly = partly || binding.readers.back() != InputReader{.classes = binding.readers.back().classes};
        binding.mask = binding.mask || operand(node, "mask") == input;
      }
    }
    if (!partly) binding.readers.clear();
  }

  InputReader reader(const Node& node, std::size_t operand_index) const {
    InputReader reader{.classes = classes_of(node, operand_index)};
    const Node* weights = weigher(node);
    if (!weights || operand(node, "target") != node.operands[operand_index]) return reader;
    const ValueId mask = operand(*weights, "mask");
    for (std::size_t i = 0; mask != none && i < program_.inputs.size(); ++i)
      if (program_.inputs[i].name == training_.graph.at(mask).name) reader.mask = static_cast<int>(i);
    if (weights->attributes.has("ignore_class")) reader.ignored = weights->attributes.integer("ignore_class");
    return reader;
  }

  /// The smallest bound that a reader of the input sets on its classes.
  std::int64_t classes(ValueId input) const {
    const Graph& graph = training_.graph;
    std::int64_t bound = 0;
    if (graph.at(input).type.dtype != DType::i32) return 0;
    for (const Node& node : graph.nodes) {
      if (!node.live || node.section == Section::backward) continue;
      for (std::size_t i = 0; i < node.operands.size(); ++i)
        if (node.operands[i] == input)
          if (const std::int64_t here = classes_of(node, i); here > 0)
            bound = bound == 0 ? here : std::min(bound, here);
    }
    return bound;
  }

  std::int64_t classes_of(const Node& node, std::size_t operand) const {
    if (node.attributes.has("one_hot")) return node.attributes.integer("one_hot");
    if (!node.op->index_bound.empty()) return node.attributes.integer(node.op->index_bound);
    if (node.attributes.has("class_weight") && !node.attributes.has("argmax") && operand < node.op->operands.size() &&
        node.op->operands[operand].name == "target")
      return static_cast<std::int64_t>(node.attributes.numbers("class_weight").size());
    if (!node.op->integer_target || node.op->operands.at(operand).kind != OperandKind::target) return 0;
    const Dims& prediction = training_.graph.at(node.operands.front()).type.dims;
    return prediction.empty() ? 0 : prediction.back();
  }

  void bind_gradient(ValueId parameter, int id) {
    const Value& value = training_.graph.at(parameter);
    program_.gradients.push_back({value.name, full_dims(value.type, low_.batch), arena_buffer(id)});
    for (Parameter& entry : plan_.parameters)
      if (entry.name == value.name) entry.trained = true;
  }

  void add_checks() {
    const double bound = gradient_bound();
    for (const OutputBinding& gradient : program_.gradients)
      program_.checks.push_back({"gradient of " + gradient.name, {BufferRef::Space::arena, gradient.buffer}, bound});
    for (const TermReport& term : program_.terms)
      if (term.weight >= 0) program_.checks.push_back({"loss " + term.name, {BufferRef::Space::scalar, term.value}, 0});
    for (const Node& node : training_.graph.nodes)  // moves of statistics: the batch's values
      if (node.live && node.section == Section::update &&
          training_.graph.at(node.operands.front()).kind == ValueKind::statistic)
        add_statistic_check(node);
  }

  double gradient_bound() const {
    for (const Node& node : training_.graph.nodes)
      if (node.live && node.op->role == Role::optimizer) return node.op->gradient_bound;
    return 0;
  }

  void add_statistic_check(const Node& node) {
    const Value& statistic = training_.graph.at(node.operands.front());
    for (const LoweredStep& step : low_.steps)
      if (step.phase == Phase::commit && step.node == node.name)
        for (std::size_t i = 0; i < step.operands.size(); ++i)
          if (step.recipe.operands[i].access == Access::read && in_arena(root(step.operands[i])) &&
              !low_.values[index(root(step.operands[i]))].is_scalar)
            program_.checks.push_back({"batch statistic for " + statistic.name, ref(step.operands[i]), 0});
  }

  Plan& plan_;
  const TrainingGraph& training_;
  const LoweredGraph& low_;
  Program program_;
  std::vector<int> buffer_of_;
};

}  // namespace

void declare_parameters(Plan& plan, const TrainingGraph& training) {
  for (const Value& value : training.graph.values) {
    if (value.kind != ValueKind::parameter && value.kind != ValueKind::statistic) continue;
    const bool statistic = value.kind == ValueKind::statistic;
    const BufferClass kind = statistic ? BufferClass::statistic : BufferClass::parameter;
    plan.store.push_back({value.name, kind, value.type.dtype, {value.type.dims, value.axes, value.axes}, 0});
    plan.parameters.push_back({value.name,
                               value.type.dims,
                               statistic,
                               false,
                               value.initializer,
                               static_cast<int>(plan.store.size()) - 1,
                               {}});
  }
}

void emit_program(Plan& plan, ProgramKind kind, const TrainingGraph& training, const LoweredGraph& lowered) {
  plan.normalized_weights = plan.normalized_weights || training.normalized;
  plan.programs.push_back(Emitter(plan, kind, training, lowered).run());
}

void finish_store(Plan& plan, const HomeShapes& homes) {
  std::uint64_t offset = 0;
  for (Buffer& buffer : plan.store) {
    if (const auto home = homes.find(buffer.name); home != homes.end()) buffer.shape = home->second;
    buffer.offset = offset;
    offset += (byte_count(buffer) + 63) / 64 * 64;
  }
  plan.store_bytes = offset;
}

}  // namespace weir
