// Before: a checked Spec, names resolved. After: one live node a layer, one more for its activation, every value typed.
// First, because everything else reads types.
#include <cmath>
#include <map>
#include <set>

#include "compiler/ir/initializer_key.hpp"
#include "compiler/ir/op.hpp"
#include "compiler/passes/measure.hpp"
#include "compiler/passes/passes.hpp"
#include "compiler/passes/weighing.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

std::string layer_of(const std::string& node) { return node.substr(0, node.find(':')); }

class Builder {
 public:
  Builder(const Spec& spec, Mode mode, Diagnostics& diagnostics) : spec_(spec), mode_(mode), diagnostics_(diagnostics) {
    graph_.name = spec.name;
    for (const LayerSpec& layer : spec.layers) by_name_.emplace(layer.name, &layer);
  }

  Graph build() {
    for (const InputSpec& input : spec_.inputs) {
      TensorType type = batched(input.shape, input.dtype);
      Value value{.name = input.name, .kind = ValueKind::input, .type = type};
      value.axes = activation_axes(type.dims.size());
      graph_.add_value(std::move(value));
    }
    for (const LayerSpec* layer : in_order()) add_layer(*layer);
    if (spec_.loss && spec_.loss->combine == "uncertainty") add_log_variances();
    add_scheduled();
    set_outputs();
    WEIR_CHECK(failed_.empty() || diagnostics_.has_errors(), "a layer was left out without a word");
    return std::move(graph_);
  }

 private:
  /// Operands first, and of the layers whose operands are there always the first in the file. So the order of some
  /// layers does not depend on others that only read them: a tail that nothing trains moves no step of the trained
  /// part.
  std::vector<const LayerSpec*> in_order() const {
    std::map<std::string, std::vector<std::size_t>> readers;
    std::vector<std::size_t> missing(spec_.layers.size(), 0);
    std::set<std::size_t> ready;
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      for (const auto& from : spec_.layers[i].from)
        if (find(layer_of(from.value))) readers[layer_of(from.value)].push_back(i), ++missing[i];
      if (missing[i] == 0) ready.insert(i);
    }
    std::vector<const LayerSpec*> order;
    while (!ready.empty()) {
      const LayerSpec& next = spec_.layers[*ready.begin()];
      ready.erase(ready.begin());
      order.push_back(&next);
      for (std::size_t reader : readers[next.name])
        if (--missing[reader] == 0) ready.insert(reader);
    }
    WEIR_CHECK(order.size() == spec_.layers.size(), "a cycle of layers that the parser let through");
    return order;
  }

  const LayerSpec* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  void add_layer(const LayerSpec& layer) {
    Node node{.op = layer.op, .name = layer.name, .attributes = layer.attributes};
    node.training = trains(layer);
    node.place = layer.place;
    for (const auto& from : layer.from) {
      const ValueId id = graph_.find(from.value);
      const bool left_out = from.value.empty();  // an optional role
      if (id == none && !left_out) {             // behind a layer that was already reported
        failed_.insert(layer.name);
        return;
      }
      node.operands.push_back(id);
    }
    if (!node.training && layer.op->identity_in_evaluation && !layer.stop_gradient) {
      graph_.by_name.emplace(layer.name, node.operands.front());
      return;
    }
    add_scalars(layer, node);
    infer(layer, std::move(node));
  }

  /// Computes as in training: only layers that differ in evaluation can be told otherwise.
  bool trains(const LayerSpec& layer) const {
    if (mode_ == Mode::evaluation) return false;
    const bool frozen = layer.op->frozen_is_evaluation && !layer.trainable;
    const bool differs = layer.op->identity_in_evaluation || layer.op->frozen_is_evaluation;
    return !(differs && (frozen || !layer.training));
  }

  /// A scalar operand that is an attribute too is there only where the attribute follows a schedule.
  void add_scalars(const LayerSpec& layer, Node& node) {
    for (const OperandDef& operand : node.op->operands)
      if (operand.kind == OperandKind::scalar)
        node.operands.push_back(find_attribute(*node.op, operand.name) ? none : graph_.scalar(operand.name));
    if (!layer.schedules.empty()) scheduled_.push_back(&layer);
  }

  /// "<term>.log_variance", the parameter behind a learned weight. A term that is left out or only watched has one too,
  /// which nothing moves: weights fit whatever a run left out.
  void add_log_variances() {
    for (const TermSpec& term : spec_.loss->terms) {
      Value value{.name = term.name + ".log_variance", .kind = ValueKind::parameter, .type = unbatched({1})};
      value.axes = "o";
      value.layer = term.name;
      value.initializer = {"zeros", {}, {}};
      value.trainable = !is_watched(term) && excluded_by(*spec_.loss, term).empty();
      graph_.add_value(std::move(value));
    }
  }

  /// Named "<operand>.<layer>", after all parameters, which have names of that form too and keep theirs.
  void add_scheduled() {
    for (const LayerSpec* layer : scheduled_)
      for (Node& node : graph_.nodes) {
        if (node.name != layer->name || node.op != layer->op) continue;
        for (const auto& [operand, schedule] : layer->schedules) {
          Value value{.name = operand + "." + layer->name, .kind = ValueKind::scalar, .type = scalar_type()};
          value.schedule = schedule;
          node.operands[static_cast<std::size_t>(operand_index(*node.op, operand))] =
              graph_.add_value(std::move(value));
        }
      }
  }

  void infer(const LayerSpec& layer, Node node) {
    InferContext context(graph_, node);
    try {
      refuse_integers(context, node);
      layer.op->infer(context);
    } catch (const InferFailure& failure) {
      report(layer, failure);
      failed_.insert(layer.name);
      return;
    }
    if (!add_parameters(layer, context, node) || !check_rules(layer)) return;
    const bool activated = layer.attributes.has("activation") && layer.attributes.word("activation") != "linear";
    add_results(layer, activated ? layer.name + ":linear" : layer.name, context, node);
    follow_statistics(context, node);
    const ValueId linear = node.results.front();
    graph_.add_node(std::move(node));
    if (activated) add_activation(layer, linear);
  }

  /// Further results are private and have the layer's name with their own behind it.
  void add_results(const LayerSpec& layer, const std::string& first_name, const InferContext& context, Node& node) {
    for (std::size_t i = 0; i < context.results.size(); ++i) {
      Value value{.name = i == 0 ? first_name : layer.name + "." + std::string(node.op->results[i]),
                  .type = context.results[i]};
      value.layer = layer.name;
      value.stop_gradient = layer.stop_gradient;
      value.axes = value.type.batched ? activation_axes(value.type.dims.size()) : "o";
      node.results.push_back(graph_.add_value(std::move(value)));
    }
  }

  /// Layers compute in f32; those that only move values, or look them up, take i32.
  void refuse_integers(const InferContext& context, const Node& node) const {
    if (node.op->carries_integers || !node.op->index_bound.empty()) return;
    for (ValueId operand : node.operands)
      if (operand != none && graph_.at(operand).type.dtype == DType::i32)
        context.fail(0, std::string(node.op->name) + " computes in f32, but \"" + graph_.at(operand).name + "\" is " +
                            to_string(graph_.at(operand).type) + "; declare the input without \"dtype\": \"i32\"");
  }

  /// The parameters in their places; with `share` the owner's, made by whichever of the layers comes first. False where
  /// they do not fit, which is reported.
  bool add_parameters(const LayerSpec& layer, const InferContext& context, Node& node) {
    const LayerSpec& owner = layer.share.empty() ? layer : *find(layer.share);
    for (const ParameterDeclaration& declared : context.parameters) {
      ValueId parameter = graph_.find(owner.name + "." + declared.name);
      if (parameter == none) parameter = add_parameter(owner, declared, fan_in(context));
      if (graph_.at(parameter).type.dims != declared.dims) {
        failed_.insert(layer.name);
        diagnostics_.error("E0313", layer.place,
                           "layer \"" + layer.name + "\" needs a " + declared.name + " " + to_string(declared.dims) +
                               ", but " + graph_.at(parameter).name + ", which is shared, is " +
                               to_string(graph_.at(parameter).type.dims));
        return false;
      }
      const auto index = static_cast<std::size_t>(operand_index(*layer.op, declared.name));
      if (node.operands.size() <= index) node.operands.resize(index + 1, none);
      node.operands[index] = parameter;
    }
    return true;
  }

  /// Regularizers and constraints of parameters that are there and fit. False where one does not, which is reported.
  bool check_rules(const LayerSpec& layer) {
    bool good = true;
    for (const std::vector<ParameterRule>* rules : {&layer.regularizers, &layer.constraints})
      for (const ParameterRule& rule : *rules) good = (rule.of.empty() || check_rule(layer, rule)) && good;
    if (!good) failed_.insert(layer.name);
    return good;
  }

  bool check_rule(const LayerSpec& layer, const ParameterRule& rule) {
    const ValueId parameter = graph_.find(layer.name + "." + rule.of);
    std::string why = "the layer has no " + rule.of;
    if (parameter != none) {
      const Node node{.op = rule.op, .name = rule.name, .operands = {parameter}, .attributes = rule.attributes};
      InferContext context(graph_, node);
      try {
        rule.op->infer(context);
        return true;
      } catch (const InferFailure& failure) {
        why = failure.message;
      }
    }
    diagnostics_.error("E0311", rule.place, "\"" + rule.name + "\": " + why).help =
        parameter == none ? "leave the key out" : "";
    return false;
  }

  /// How many inputs each output adds up, by the layer's weights: PyTorch's measure for kernel and bias.
  static double fan_in(const InferContext& context) {
    const Dims& weights = context.parameters.front().dims;
    const Dims& output = context.results.front().dims;
    return output.empty() ? 1 : static_cast<double>(element_count(weights)) / static_cast<double>(output.back());
  }

  ValueId add_parameter(const LayerSpec& owner, const ParameterDeclaration& declared, double fan_in) {
    Value value{.name = owner.name + "." + declared.name,
                .kind = declared.statistic ? ValueKind::statistic : ValueKind::parameter};
    value.type = unbatched(declared.dims);
    value.axes = declared.axes;
    value.layer = owner.name;
    value.initializer = owner.attributes.initializer(initializer_key(owner.attributes, declared.name));
    if (value.initializer.type == "fan_in_uniform") {  // a default of profile pytorch, no word of the file
      const double bound = 1 / std::sqrt(fan_in);
      value.initializer = {"random_uniform", {{"minval", -bound}, {"maxval", bound}}, {}};
    }
    value.trainable = !declared.statistic && owner.trainable;
    value.momentum = declared.momentum;
    value.unbiased_over = declared.unbiased_over;
    return graph_.add_value(std::move(value));
  }

  void follow_statistics(const InferContext& context, const Node& node) {
    for (const ParameterDeclaration& declared : context.parameters) {
      if (!declared.statistic || !node.training) continue;
      const ValueId id = node.operands.at(static_cast<std::size_t>(operand_index(*node.op, declared.name)));
      graph_.at(id).follows.push_back(
          node.results.at(static_cast<std::size_t>(result_index(*node.op, declared.follows))));
    }
  }

  void add_activation(const LayerSpec& layer, ValueId linear) {
    const OpDef* op = find_op(layer.attributes.word("activation"));
    WEIR_CHECK(op, layer.name + ": the activation was checked by the parser");
    Node node{.op = op, .name = layer.name, .operands = {linear}, .attributes = with_defaults(*op, {})};
    node.training = mode_ == Mode::training;
    node.place = layer.place;
    InferContext context(graph_, node);
    try {
      op->infer(context);
    } catch (const InferFailure& failure) {
      report(layer, failure);
      failed_.insert(layer.name);
      return;
    }
    add_results(layer, layer.name, context, node);
    graph_.add_node(std::move(node));
  }

  void report(const LayerSpec& layer, const InferFailure& failure) {
    Diagnostic& diagnostic =
        diagnostics_.error("E0311", layer.place, "layer \"" + layer.name + "\": " + failure.message);
    if (!layer.from.empty()) diagnostic.notes.push_back(chain(graph_.find(layer.from.front().value)));
    if (failure.constraint > 0)
      diagnostic.notes.push_back(
          std::string(layer.op->name) + ", " +
          std::string(layer.op->constraints.at(static_cast<std::size_t>(failure.constraint - 1))));
  }

  /// "image f32[B, 28, 28, 1] -> conv_1 f32[B, 28, 28, 32]"
  std::string chain(ValueId id) const {
    std::vector<std::string> steps;
    for (; id != none && steps.size() < 12;) {
      const Value& value = graph_.at(id);
      steps.push_back(value.name + " " + to_string(value.type));
      id = value.producer == none ? none : graph_.node(value.producer).operands.front();
    }
    std::string text;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) text += (text.empty() ? "" : " -> ") + *step;
    return text;
  }

  void set_outputs() {
    for (const auto& output : spec_.outputs) graph_.outputs.push_back(output.value);
    if (!spec_.outputs.empty()) return;
    std::set<std::string> read;
    for (const LayerSpec& layer : spec_.layers)
      for (const auto& from : layer.from) read.insert(layer_of(from.value));
    for (const LayerSpec& layer : spec_.layers)
      if (!read.contains(layer.name) && !failed_.contains(layer.name)) graph_.outputs.push_back(layer.name);
  }

  const Spec& spec_;
  Mode mode_;
  Diagnostics& diagnostics_;
  Graph graph_;
  std::map<std::string, const LayerSpec*> by_name_;
  std::set<std::string> failed_;
  std::vector<const LayerSpec*> scheduled_;  ///< layers with a schedule
};

}  // namespace

Graph build_graph(const Spec& spec, Mode mode, Diagnostics& diagnostics) {
  return Builder(spec, mode, diagnostics).build();
}

}  // namespace weir
