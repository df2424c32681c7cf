// Before: a pruned graph with its readers. After: for each node that touches images, which of the target's two layouts
// it reads and writes them in; or for none, where nothing is gained.
//   conv_1 nChw8c → pool_1 nChw8c → conv_2 nhwc     a reorder before conv_2, if its gain pays for that
// One sum over the whole training graph: what every step takes in its layout, and for every value, forward or gradient,
// a reorder for each layout in which it is read and not written. Each node is lowered in thought, once in each layout;
// the Target prices the recipes. With two layouts the cheapest choice is a smallest cut (min_cut.hpp), which is exact.
// The reorders of a value are paid once however many read it, so each value has two variables more: whether it is
// wanted in either layout. Readers for the watch section have no say, because watching changes nothing. What the target
// tells is no more exact than a few percent, so a smaller gain leaves the usual layouts. Before lower, which settles
// layouts node by node, in execution order, and cannot look ahead. Optional: without it results differ by rounding
// alone.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "compiler/passes/min_cut.hpp"
#include "compiler/passes/node_lowering.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr double least_gain = 0.05;  ///< of the whole
constexpr double impossible = 1e4;   ///< seconds: no kernel
constexpr double unit = 1e-10;       ///< seconds of the price 1

std::size_t index(int id) { return static_cast<std::size_t>(id); }

/// A value in the layout that a node reads or writes it in.
struct Use {
  ValueId value;
  std::string layout;
  bool operator==(const Use&) const = default;
};

/// What a node would do.
struct Outcome {
  double seconds = 0;
  std::vector<Use> reads, writes;  ///< of images
};

using Layouts = std::map<ValueId, std::string>;

/// Lowers one node without steps.
class Trial final : public NodeLowering {
 public:
  /// layout: in which the node reads images; where there is none, in those of `present`.
  Trial(const TrainingGraph& training, const Target& target, std::int64_t batch, const Layouts* present,
        ImageLayout layout, std::map<std::string, double>& prices)
      : NodeLowering(training.graph, batch), target_(target), present_(present), layout_(layout), prices_(prices) {}

  Outcome run(const Node& node) {
    outcome_ = {};
    node_ = &node;
    node.op->lower(*this);
    return std::move(outcome_);
  }

  LoweredType operand(std::string_view name) const override {
    const ValueId id = value_of(name);
    WEIR_CHECK(id != none, node_->name + ": operand " + std::string(name) + " is absent");
    LoweredType type{graph_.at(id).type.dtype, canonical(id)};
    if (is_image(id)) type.shape.layout = layout_now(id, type);
    return type;
  }
  std::string activation_layout(const LoweredType& type) const override {
    return layout_ == ImageLayout::other ? target_.other_activation_layout(type.shape.dims, type.shape.axes)
                                         : target_.activation_layout(type.shape.dims, type.shape.axes);
  }
  void alias(std::string_view result, std::string_view operand) override {
    const bool same = canonical(result_of(result)) == canonical(value_of(operand));
    const std::string layout = same ? this->operand(operand).shape.layout : canonical(value_of(operand)).layout;
    note_read(value_of(operand), layout);
    note_write(result_of(result), same ? layout : canonical(result_of(result)).layout);
  }

 protected:
  void emit(Recipe open, const std::vector<std::string>& names) override {
    if (open.threads == 0) open.threads = target_.threads();
    outcome_.seconds += price(open);
    for (std::size_t i = 0; i < open.operands.size(); ++i) {
      const RecipeOperand& operand = open.operands[i];
      const ValueId id = operand.access == Access::write ? result_of(names[i]) : value_of(names[i]);
      // another view of it is dense
      const std::string layout = operand.shape.axes == "nhwc" && operand.shape.dims == canonical(id).dims
                                     ? operand.shape.layout
                                     : graph_.at(id).axes;
      operand.access == Access::write ? note_write(id, layout) : note_read(id, layout);
    }
  }

 private:
  std::string layout_now(ValueId id, const LoweredType& type) const {
    for (const Use& use : outcome_.writes)  // by an earlier kernel of the node
      if (use.value == id) return use.layout;
    return present_ ? present_->at(id) : activation_layout(type);
  }

  double price(const Recipe& open) {
    const auto [found, added] = prices_.try_emplace(to_string(open), impossible);
    if (!added) return found->second;
    try {
      found->second = target_.seconds(open);
    } catch (const Error&) {
    }
    return found->second;
  }

  bool has_layout(ValueId id) const {
    const ValueKind kind = graph_.at(id).kind;
    return graph_.at(id).axes == "nhwc" && (kind == ValueKind::result || kind == ValueKind::input);
  }
  void note_read(ValueId id, const std::string& layout) {
    const bool own =
        std::any_of(outcome_.writes.begin(), outcome_.writes.end(), [&](const Use& use) { return use.value == id; });
    if (has_layout(id) && !own) outcome_.reads.push_back({id, layout});
  }
  void note_write(ValueId id, const std::string& layout) {
    if (has_layout(id)) outcome_.writes.push_back({id, layout});
  }

  const Target& target_;
  const Layouts* present_;
  ImageLayout layout_;
  std::map<std::string, double>& prices_;
  Outcome outcome_;
};

/// A node whose layout is to be chosen.
struct Choice {
  NodeId node;
  std::string name;
  Outcome usual, other;  ///< reading images in that layout
  Outcome followed;      ///< what lower does by itself
  int variable = none;
  bool differs() const {
    return usual.seconds != other.seconds || usual.reads != other.reads || usual.writes != other.writes;
  }
};

class Assigning {
 public:
  Assigning(const TrainingGraph& training, const Target& target, std::int64_t batch)
      : training_(training), graph_(training.graph), target_(target), batch_(batch) {}

  LayoutAssignment run() {
    LayoutAssignment assignment;
    if (!has_choices()) return assignment;
    try_nodes();
    assignment.usual_seconds = total([](const Choice& choice) -> const Outcome& { return choice.followed; });
    const std::vector<bool> others = cheapest();
    const auto chosen = [&](const Choice& choice) -> const Outcome& {
      return others[index(choice.variable)] ? choice.other : choice.usual;
    };
    assignment.seconds = total(chosen);
    if (!(assignment.seconds < (1 - least_gain) * assignment.usual_seconds)) return assignment;
    for (const Choice& choice : choices_) {
      const Outcome& outcome = chosen(choice);
      assignment.nodes[choice.node] = {choice.name,
                                       others[index(choice.variable)] ? ImageLayout::other : ImageLayout::usual};
      assignment.changed += outcome.reads != choice.followed.reads || outcome.writes != choice.followed.writes;
    }
    return assignment;
  }

 private:
  Shape shape_of(ValueId id) const {
    const Value& value = graph_.at(id);
    return {full_dims(value.type, batch_), value.axes, value.axes};
  }
  std::string usual_layout(ValueId id) const {
    const Shape shape = shape_of(id);
    return target_.activation_layout(shape.dims, shape.axes);
  }
  std::string other_layout(ValueId id) const {
    const Shape shape = shape_of(id);
    return target_.other_activation_layout(shape.dims, shape.axes);
  }

  bool has_choices() const {
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values.size()); ++id)
      if (graph_.at(id).axes == "nhwc" && usual_layout(id) != other_layout(id)) return true;
    return false;
  }

  void try_nodes() {
    Layouts present;
    for (ValueId id = 0; id < static_cast<ValueId>(graph_.values.size()); ++id) present[id] = graph_.at(id).axes;
    for (Section section : {Section::forward, Section::loss, Section::backward})
      for (NodeId id = 0; id < static_cast<NodeId>(graph_.nodes.size()); ++id) {
        const Node& node = graph_.node(id);
        if (!node.live || node.section != section) continue;
        Choice choice{id, node.name, trial(node, nullptr, ImageLayout::usual), trial(node, nullptr, ImageLayout::other),
                      trial(node, &present, ImageLayout::usual)};
        for (const Use& use : choice.followed.writes) present[use.value] = use.layout;
        if (node.section == Section::backward) choice.name += " " + std::string(node.op->name);
        if (!choice.followed.reads.empty() || !choice.followed.writes.empty()) choices_.push_back(std::move(choice));
      }
  }

  Outcome trial(const Node& node, const Layouts* present, ImageLayout layout) {
    return Trial(training_, target_, batch_, present, layout, prices_).run(node);
  }

  double reorder_seconds(ValueId id, const std::string& from, const std::string& to) {
    if (graph_.at(id).type.dtype != DType::f32) return impossible;  // positions in windows stay as they were written
    Recipe recipe{.kernel = "reorder", .threads = target_.threads()};
    Shape source = shape_of(id), shape = source;
    source.layout = from, shape.layout = to;
    recipe.operands = {{"src", Access::read, DType::f32, source}, {"dst", Access::write, DType::f32, shape}};
    const auto [found, added] = prices_.try_emplace(to_string(recipe), 0);
    if (added) found->second = target_.seconds(recipe);
    return found->second;
  }

  /// Seconds of all steps and of the reorders between them, as lower makes these.
  template <class OutcomeOf>
  double total(const OutcomeOf& outcome_of) {
    double seconds = 0;
    std::map<ValueId, std::vector<std::string>> forms;
    for (const Choice& choice : choices_) {
      const Outcome& outcome = outcome_of(choice);
      seconds += outcome.seconds;
      for (const Use& use : outcome.reads) {
        std::vector<std::string>& found = forms[use.value];
        if (found.empty()) found.push_back(graph_.at(use.value).axes);  // an input of the model
        if (std::find(found.begin(), found.end(), use.layout) != found.end()) continue;
        seconds += reorder_seconds(use.value, found.front(), use.layout);
        found.push_back(use.layout);
      }
      for (const Use& use : outcome.writes) forms[use.value] = {use.layout};
    }
    return seconds;
  }

  // ---- The cut

  static MinCut::Price price(double seconds) {
    return seconds >= impossible ? MinCut::forbidden : static_cast<MinCut::Price>(std::llround(seconds / unit));
  }

  /// Where a use is in the other layout, by its node's variable.
  struct Wanted {
    int variable = none;  ///< none: whatever the node's
    std::array<bool, 2> other = {};
    bool fixed() const { return other[0] == other[1]; }
  };

  std::vector<bool> cheapest() {
    MinCut cut;
    std::map<ValueId, Wanted> written;
    std::map<ValueId, std::vector<Wanted>> read;
    for (Choice& choice : choices_) {
      choice.variable = cut.add_variable();
      // a tie is the usual layout's: of equal choices the cut has the fewest others
      cut.pay(choice.variable, price(choice.usual.seconds), price(choice.other.seconds));
      for (std::size_t i = 0; i < choice.usual.writes.size(); ++i)
        written[choice.usual.writes[i].value] = wanted(choice, choice.usual.writes[i], choice.other.writes.at(i));
      for (std::size_t i = 0; i < choice.usual.reads.size(); ++i)
        read[choice.usual.reads[i].value].push_back(wanted(choice, choice.usual.reads[i], choice.other.reads.at(i)));
    }
    for (const auto& [value, readers] : read) {
      if (usual_layout(value) == other_layout(value)) continue;
      const bool canonical_is_other = graph_.at(value).axes == other_layout(value);
      const auto found = written.find(value);
      add_value(cut, value,
                found == written.end() ? Wanted{none, {canonical_is_other, canonical_is_other}} : found->second,
                readers);
    }
    return cut.solve();
  }

  Wanted wanted(const Choice& choice, const Use& usual, const Use& other) const {
    WEIR_CHECK(usual.value == other.value, choice.name + " reads other values in another layout");
    const std::string word = other_layout(usual.value);
    const bool choosable = usual_layout(usual.value) != word;
    return {choice.variable, {choosable && usual.layout == word, choosable && other.layout == word}};
  }

  /// A reorder into the other layout where anybody wants that and it was written in the usual one, and the way back.
  void add_value(MinCut& cut, ValueId value, const Wanted& written, const std::vector<Wanted>& readers) {
    const int needs_other = cut.add_variable(), spares_usual = cut.add_variable();
    for (const Wanted& reader : readers) {
      if (reader.fixed()) {
        if (reader.other[0])
          cut.pay(needs_other, MinCut::forbidden, 0);
        else
          cut.pay(spares_usual, 0, MinCut::forbidden);
        continue;
      }
      WEIR_CHECK(reader.other[1], "the usual layout is the other one");
      cut.pay_between(needs_other, reader.variable, MinCut::forbidden);   // the reader's other needs that form
      cut.pay_between(reader.variable, spares_usual, MinCut::forbidden);  // its usual one does not spare this form
    }
    const MinCut::Price there = price(reorder_seconds(value, usual_layout(value), other_layout(value)));
    const MinCut::Price back = price(reorder_seconds(value, other_layout(value), usual_layout(value)));
    if (!written.fixed()) {
      WEIR_CHECK(written.other[1], "the usual layout is the other one");
      cut.pay_between(written.variable, needs_other, there);
      cut.pay_between(spares_usual, written.variable, back);
    } else if (written.other[0]) {
      cut.pay(spares_usual, back, 0);
    } else {
      cut.pay(needs_other, 0, there);
    }
  }

  const TrainingGraph& training_;
  const Graph& graph_;
  const Target& target_;
  std::int64_t batch_;
  std::vector<Choice> choices_;
  std::map<std::string, double> prices_;  ///< by recipe
};

}  // namespace

LayoutAssignment assign_layouts(const TrainingGraph& training, const Target& target, std::int64_t batch) {
  return Assigning(training, target, batch).run();
}

std::string print(const LayoutAssignment& assignment) {
  if (assignment.nodes.empty()) return "the usual layouts\n";
  std::string text = fmt::format("{:.1f} us in place of {:.1f} us, {} nodes in another layout than before\n",
                                 assignment.seconds * 1e6, assignment.usual_seconds * 1e6, assignment.changed);
  for (const auto& [id, entry] : assignment.nodes)
    text += fmt::format("  {}: {}\n", entry.name, entry.layout == ImageLayout::other ? "other" : "usual");
  return text;
}

void verify(const LayoutAssignment& assignment) {
  WEIR_CHECK(assignment.nodes.empty() || assignment.seconds < assignment.usual_seconds, "layouts that gain nothing");
}

}  // namespace weir
