// Before: a pruned graph with its readers. After: kernel steps in execution order, every operand with a physical
// layout, reorders and weight copies as steps of their own. Layouts are settled here and nowhere else: an op asks for
// what its kernel wants, the Target fills in what is open, and a value that exists in another layout gets a reorder
// (once; a trained step never uses one made for a watcher). A parameter's home layout is that of its gradient, so that
// the update needs no reorder; copies in other layouts are refreshed before compute. Last station with nodes: from here
// on there is memory without mathematics.
#include <algorithm>
#include <optional>

#include "compiler/passes/node_lowering.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

class Lowering final : public NodeLowering {
 public:
  Lowering(const TrainingGraph& training, const Target& target, std::int64_t batch, HomeShapes& homes,
           const LayoutAssignment& layouts)
      : NodeLowering(training.graph, batch),
        training_(training),
        target_(target),
        homes_(homes),
        layouts_(layouts),
        variants_(graph_.values.size()) {
    low_.batch = batch;
    for (const auto& [parameter, gradient] : training.gradients) parameter_of_[gradient] = parameter;
  }

  LoweredGraph run() {
    for (const Node& node : graph_.nodes)  // whoever looks along axes needs them
      if (node.live && node.op->by_axes)
        homes_.try_emplace(graph_.at(node.operands.front()).name, canonical(node.operands.front()));
    for (Section section : {Section::forward, Section::loss, Section::watch, Section::backward, Section::update})
      for (const Node& node : graph_.nodes)
        if (node.live && node.section == section) lower_node(node);
    finish_gradients();
    finish_taps();
    finish_parameters();
    std::stable_sort(low_.steps.begin(), low_.steps.end(), [](const LoweredStep& a, const LoweredStep& b) {
      return std::pair(a.phase, a.derived) < std::pair(b.phase, b.derived);
    });
    return std::move(low_);
  }

  LoweredType operand(std::string_view name) const override {
    const ValueId id = value_of(name);
    WEIR_CHECK(id != none, node_->name + ": operand " + std::string(name) + " is absent");
    if (node_->section == Section::update) return {graph_.at(id).type.dtype, home_in_update(id)};
    return present(id);
  }

  std::string activation_layout(const LoweredType& type) const override {
    return assigned() == ImageLayout::other ? target_.other_activation_layout(type.shape.dims, type.shape.axes)
                                            : target_.activation_layout(type.shape.dims, type.shape.axes);
  }

  void alias(std::string_view result, std::string_view operand) override {
    const ValueId to = result_of(result);
    Shape shape = canonical(to), source = canonical(value_of(operand));
    if (source == shape) shape = source = this->operand(operand).shape;  // the same value: it keeps its layout
    const int from = fetch(value_of(operand), source);
    add_variant(to, {.name = graph_.at(to).name,
                     .kind = low_.values[index(from)].kind,
                     .dtype = graph_.at(to).type.dtype,
                     .shape = shape,
                     .alias_of = root(from),
                     .value = to});
  }

 protected:
  void emit(Recipe open, const std::vector<std::string>& names) override {
    if (open.threads == 0) open.threads = target_.threads();
    const Recipe closed = target_.close(open);
    LoweredStep step{.recipe = closed, .operands = {}, .node = step_name(), .phase = phase(), .watched = watched()};
    step.derived = step.phase == Phase::refresh;
    for (std::size_t i = 0; i < closed.operands.size(); ++i)
      step.operands.push_back(i < names.size() ? bind(closed.operands[i], names[i]) : scratch(closed.operands[i]));
    low_.steps.push_back(std::move(step));
  }

 private:
  /// One physical form of a graph value.
  struct Variant {
    int lowered;
    bool watched;
  };

  static std::size_t index(int id) { return static_cast<std::size_t>(id); }

  void lower_node(const Node& node) {
    node_ = &node;
    node_id_ = static_cast<NodeId>(&node - graph_.nodes.data());
    WEIR_CHECK(node.op->lower, std::string(node.op->name) + " has no lower");
    if (node.section == Section::update) settle_home(node.operands.front());
    node.op->lower(*this);
  }

  std::optional<ImageLayout> assigned() const {
    const auto found = node_ ? layouts_.nodes.find(node_id_) : layouts_.nodes.end();
    return found == layouts_.nodes.end() ? std::nullopt : std::optional(found->second.layout);
  }

  bool watched() const { return node_ && node_->section == Section::watch; }
  Phase phase() const {
    if (node_->section == Section::update) return Phase::commit;
    return is_refreshed(*node_) ? Phase::refresh : Phase::compute;
  }

  /// What a prediction makes of parameters and statistics alone stays as it is until they change.
  bool is_refreshed(const Node& node) const {
    return node.section == Section::forward && !node.training && !node.operands.empty() &&
           std::all_of(node.operands.begin(), node.operands.end(),
                       [&](ValueId id) { return id == none || stored(id); });
  }

  LoweredType present(ValueId id) const {
    const Value& value = graph_.at(id);
    if (value.kind != ValueKind::result) return {value.type.dtype, canonical(id)};
    for (const Variant& variant : variants_[index(id)]) {
      if (variant.watched && !watched()) continue;
      LoweredType type{low_.values[index(variant.lowered)].dtype, low_.values[index(variant.lowered)].shape};
      // where the node has a layout assigned, it reads every image in that
      if (assigned() && is_image(id) && graph_.at(id).producer != node_id_)
        type.shape = canonical(id), type.shape.layout = activation_layout(type);
      return type;
    }
    WEIR_CHECK(false, node_->name + " reads " + value.name + " before a step writes it");
  }

  // ---- binding operands
  // ----------------------------------------------------------------------------------------------------------

  int bind(const RecipeOperand& operand, const std::string& name) {
    if (operand.access == Access::write) return write(operand, result_of(name));
    const ValueId id = value_of(name);
    WEIR_CHECK(id != none, node_->name + ": operand " + name + " is absent");
    if (graph_.at(id).kind == ValueKind::scalar || graph_.at(id).type == scalar_type()) return scalar(id);
    return fetch(id, operand.shape);
  }

  int scalar(ValueId id) {
    if (!variants_[index(id)].empty()) return variants_[index(id)].front().lowered;
    return add_variant(id, {.name = graph_.at(id).name, .dtype = DType::f64, .value = id, .is_scalar = true});
  }

  int write(const RecipeOperand& operand, ValueId id) {
    if (graph_.at(id).type == scalar_type()) return scalar(id);
    const BufferClass kind = phase() == Phase::refresh ? BufferClass::copy
                             : parameter_of_.contains(id) || node_->section == Section::backward
                                 ? BufferClass::gradient
                                 : BufferClass::activation;
    const Shape shape = is_dense(operand.shape) ? canonical(id) : operand.shape;  // a dense view is the value itself
    return add_variant(id,
                       {.name = graph_.at(id).name, .kind = kind, .dtype = operand.dtype, .shape = shape, .value = id});
  }

  int scratch(const RecipeOperand& operand) {
    low_.values.push_back({.name = "scratch of " + step_name(),
                           .kind = BufferClass::scratch,
                           .dtype = operand.dtype,
                           .shape = operand.shape});
    return static_cast<int>(low_.values.size()) - 1;
  }

  int add_variant(ValueId id, LoweredValue value) {
    low_.values.push_back(std::move(value));
    const int lowered = static_cast<int>(low_.values.size()) - 1;
    variants_[index(id)].push_back({lowered, watched()});
    return lowered;
  }

  static bool same_bytes(const Shape& a, const Shape& b) {
    return a == b || (is_dense(a) && is_dense(b) && element_count(a.dims) == element_count(b.dims));
  }

  /// The value in this shape: an existing form, a weight copy, or a reorder.
  int fetch(ValueId id, const Shape& shape) {
    for (const Variant& variant : variants_[index(id)])
      if ((!variant.watched || watched()) && same_bytes(low_.values[index(variant.lowered)].shape, shape))
        return variant.lowered;
    const Value& value = graph_.at(id);
    if (value.kind == ValueKind::input) return reordered(id, add_input(id), shape);
    if (stored(id))
      return add_variant(
          id, {.name = value.name, .kind = BufferClass::copy, .dtype = value.type.dtype, .shape = shape, .value = id});
    present(id);
    return reordered(id, form_for(id, shape), shape);
  }

  int add_input(ValueId id) {
    if (const auto found = low_.inputs.find(id); found != low_.inputs.end()) return found->second;
    const Value& value = graph_.at(id);
    const int lowered = add_variant(id, {.name = value.name,
                                         .kind = BufferClass::input,
                                         .dtype = value.type.dtype,
                                         .shape = canonical(id),
                                         .value = id});
    variants_[index(id)].back().watched = false;  // fed for everybody
    return low_.inputs[id] = lowered;
  }

  /// The form to reorder from: with the same dims, or else a dense one, whose bytes are those of any dense view.
  int form_for(ValueId id, const Shape& shape) {
    int first = none;
    for (const Variant& variant : variants_[index(id)]) {
      if (variant.watched && !watched()) continue;
      const Shape& form = low_.values[index(variant.lowered)].shape;
      if (form.dims == shape.dims && form.axes == shape.axes) return variant.lowered;
      if (first == none || is_dense(form)) first = variant.lowered;
    }
    const Shape form = low_.values[index(first)].shape;
    return reordered(id, first, {form.dims, form.axes, form.axes});
  }

  int reordered(ValueId id, int from, const Shape& shape) {
    const Shape source = low_.values[index(from)].shape;
    if (same_bytes(source, shape)) return from;
    const DType dtype = low_.values[index(from)].dtype;
    const BufferClass kind =
        low_.values[index(from)].kind == BufferClass::input ? BufferClass::copy : low_.values[index(from)].kind;
    const int to = add_variant(id, {.name = graph_.at(id).name + " as " + shape.layout,
                                    .kind = kind,
                                    .dtype = dtype,
                                    .shape = shape,
                                    .value = id});
    const NodeId producer = graph_.at(id).producer;
    const bool refreshed = producer != none && is_refreshed(graph_.node(producer));
    add_reorder(from, to, refreshed ? Phase::refresh : Phase::compute);
    low_.steps.back().derived = refreshed;
    return to;
  }

  void add_reorder(int from, int to, Phase when) {
    Shape source = low_.values[index(from)].shape;
    const Shape& shape = low_.values[index(to)].shape;
    if (source.dims != shape.dims || source.axes != shape.axes) {
      WEIR_CHECK(is_dense(source), low_.values[index(from)].name + " has no dense form to view");
      source = {shape.dims, shape.axes, shape.axes};
    }
    Recipe recipe{.kernel = "reorder", .threads = target_.threads()};
    recipe.operands = {{"src", Access::read, low_.values[index(from)].dtype, source},
                       {"dst", Access::write, low_.values[index(to)].dtype, shape}};
    recipe = target_.close(recipe);
    LoweredStep step{.recipe = recipe,
                     .operands = {from, to},
                     .node = low_.values[index(to)].name,
                     .phase = when,
                     .watched = watched()};
    if (when == Phase::refresh) step.node = low_.values[index(to)].name + " as " + shape.layout, step.watched = false;
    if (recipe.operands.size() > 2) step.operands.push_back(reorder_scratch(recipe.operands.back()));
    low_.steps.push_back(std::move(step));
  }

  int reorder_scratch(const RecipeOperand& operand) {
    low_.values.push_back(
        {.name = "scratch of a reorder", .kind = BufferClass::scratch, .dtype = operand.dtype, .shape = operand.shape});
    return static_cast<int>(low_.values.size()) - 1;
  }

  int root(int id) const {
    while (low_.values[index(id)].alias_of >= 0) id = low_.values[index(id)].alias_of;
    return id;
  }

  // ---- parameters
  // ----------------------------------------------------------------------------------------------------------------

  /// Fixes where a parameter lives between steps: what an earlier program fixed, or its gradient's layout, or the first
  /// one wanted.
  void settle_home(ValueId parameter) {
    const Value& value = graph_.at(parameter);
    if (homes_.contains(value.name)) return;
    Shape home = canonical(parameter);
    const auto gradient = training_.gradients.find(parameter);
    if (gradient != training_.gradients.end() && !variants_[index(gradient->second)].empty())
      home = low_.values[index(variants_[index(gradient->second)].front().lowered)].shape;
    else if (value.kind == ValueKind::parameter && !variants_[index(parameter)].empty())
      home = low_.values[index(variants_[index(parameter)].front().lowered)].shape;
    homes_[value.name] = home;
  }

  /// In an update every operand has its parameter's home layout.
  Shape home_in_update(ValueId id) const {
    const Value& value = graph_.at(id);
    if (value.kind == ValueKind::scalar) return {};
    if (stored(id) || parameter_of_.contains(id)) return homes_.at(graph_.at(node_->operands.front()).name);
    return canonical(id);
  }

  void finish_gradients() {
    node_ = nullptr;
    for (const auto& [parameter, gradient] : training_.gradients) {
      settle_home(parameter);
      const Shape& home = homes_.at(graph_.at(parameter).name);
      low_.gradients[parameter] = fetch(gradient, home);
    }
  }

  void finish_taps() {
    Node reader{.op = nullptr, .name = "tap"};
    node_id_ = none;
    reader.section = Section::watch;
    node_ = &reader;
    for (ValueId tap : training_.taps) {
      const int lowered = graph_.at(tap).kind == ValueKind::input ? add_input(tap) : fetch(tap, canonical(tap));
      low_.taps[tap] = lowered;
    }
    node_ = nullptr;
  }

  /// Forms of a parameter that are its home need no copy; the others are refreshed from it.
  void finish_parameters() {
    for (ValueId id = 0; id < static_cast<ValueId>(variants_.size()); ++id) {
      if (!stored(id) || variants_[index(id)].empty()) continue;
      const Value& value = graph_.at(id);
      if (value.kind != ValueKind::state) settle_home(id);
      const Shape home = value.kind == ValueKind::state ? homes_.at(graph_.at(value.of).name) : homes_.at(value.name);
      const int stored_value = home_value(id, home);
      low_.stored[id] = stored_value;
      for (const Variant& variant : std::vector<Variant>(variants_[index(id)])) {
        if (variant.lowered == stored_value) continue;
        if (same_bytes(low_.values[index(variant.lowered)].shape, home))
          low_.values[index(variant.lowered)].alias_of = stored_value;
        else
          copy_from_home(id, stored_value, variant);
      }
    }
  }

  int home_value(ValueId id, const Shape& home) {
    const ValueKind kind = graph_.at(id).kind;
    const BufferClass store = kind == ValueKind::parameter   ? BufferClass::parameter
                              : kind == ValueKind::statistic ? BufferClass::statistic
                                                             : BufferClass::state;
    low_.values.push_back(
        {.name = graph_.at(id).name, .kind = store, .dtype = graph_.at(id).type.dtype, .shape = home, .value = id});
    return static_cast<int>(low_.values.size()) - 1;
  }

  void copy_from_home(ValueId id, int home, const Variant& variant) {
    const int copy = variant.lowered;
    const Shape source = low_.values[index(home)].shape, shape = low_.values[index(copy)].shape;
    if ((source.dims == shape.dims && source.axes == shape.axes) || is_dense(source)) {
      add_reorder(home, copy, Phase::refresh);
      low_.steps.back().watched = variant.watched;
      return;
    }
    // two views with different dims: through the canonical form
    low_.values.push_back({.name = graph_.at(id).name,
                           .kind = BufferClass::copy,
                           .dtype = graph_.at(id).type.dtype,
                           .shape = {source.dims, source.axes, source.axes},
                           .value = id});
    const int dense = static_cast<int>(low_.values.size()) - 1;
    add_reorder(home, dense, Phase::refresh);
    add_reorder(dense, copy, Phase::refresh);
  }

  const TrainingGraph& training_;
  const Target& target_;
  HomeShapes& homes_;
  const LayoutAssignment& layouts_;
  LoweredGraph low_;
  std::vector<std::vector<Variant>> variants_;  ///< by graph value
  std::map<ValueId, ValueId> parameter_of_;     ///< gradient → parameter
  NodeId node_id_ = none;                       ///< of node_, where it is one of the graph
};

}  // namespace

LoweredGraph lower(const TrainingGraph& training, const Target& target, std::int64_t batch, HomeShapes& homes,
                   const LayoutAssignment& layouts) {
  return Lowering(training, target, batch, homes, layouts).run();
}

}  // namespace weir
