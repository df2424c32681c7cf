#include "compiler/interpret/probe.hpp"

#include "runtime/error.hpp"
#include "runtime/random.hpp"

namespace weir {
namespace {

std::size_t index(int id) { return static_cast<std::size_t>(id); }

std::vector<Array> arrays_of(const Interpreter& run) {
  const auto count = static_cast<ValueId>(run.training().graph.values.size());
  std::vector<Array> arrays;
  arrays.reserve(static_cast<std::size_t>(count));
  for (ValueId id = 0; id < count; ++id) arrays.push_back(run.value(id));
  return arrays;
}

bool takes_part(const LossTerm& term, const Value& parameter) {
  if (!parameter.trainable || term.skip.contains(parameter.layer)) return false;
  return term.only.empty() || term.only.contains(parameter.layer);
}

/// A loss compares with what its target was, whatever moves; unless it is to move the target too.
bool is_held(const Node& node, std::size_t operand) {
  const std::vector<OperandDef>& operands = node.op->operands;
  return operands[std::min(operand, operands.size() - 1)].kind == OperandKind::target &&
         !node.attributes.has("target_gradient");
}

/// Results are made anew.
void run_reference(const Node& node, std::vector<Array*> operands, std::vector<Array>& arrays, std::int64_t batch) {
  WEIR_CHECK(!node.post_op, node.name + " is fused");
  std::vector<Array*> results;
  for (ValueId id : node.results) {
    results.push_back(id == none ? nullptr : &arrays[index(id)]);
    if (id != none) *results.back() = Array(results.back()->dims);
  }
  ReferenceContext context(node, std::move(operands), std::move(results), batch);
  node.op->reference(context);
}

}  // namespace

LossProbe::LossProbe(const Interpreter& base, std::int64_t batch)
    : training_(base.training()), batch_(batch), base_(arrays_of(base)), moved_(base_) {
  for (const LossTerm& term : training_.terms)
    values_.push_back(term.role == TermRole::trained ? base_[index(term.value)][0] : 0);
}

std::vector<bool> LossProbe::reached_terms(ValueId parameter) {
  std::vector<bool> reached(training_.terms.size(), false);
  for (const Route& route : routes(parameter))
    for (std::size_t term : route.terms) reached[term] = true;
  return reached;
}

std::vector<double> LossProbe::values(ValueId parameter, std::int64_t entry, double delta) {
  std::vector<double> values = values_;
  moved_[index(parameter)][entry] += delta;
  for (const Route& route : routes(parameter)) {
    for (NodeId node : route.nodes) run(training_.graph.node(node), route);
    for (std::size_t term : route.terms) values[term] = moved_[index(training_.terms[term].value)][0];
  }
  moved_[index(parameter)][entry] = base_[index(parameter)][entry];
  return values;
}

const std::vector<LossProbe::Route>& LossProbe::routes(ValueId parameter) {
  const auto [found, added] = routes_.try_emplace(parameter);
  if (!added) return found->second;
  std::map<std::set<ValueId>, std::vector<std::size_t>> terms_by_cuts;
  for (std::size_t i = 0; i < training_.terms.size(); ++i) {
    const LossTerm& term = training_.terms[i];
    if (term.role == TermRole::trained && takes_part(term, training_.graph.at(parameter)))
      terms_by_cuts[term.stop_at].push_back(i);
  }
  for (const auto& [cuts, terms] : terms_by_cuts)
    if (Route route = find_route(parameter, cuts, terms); !route.terms.empty())
      found->second.push_back(std::move(route));
  return found->second;
}

LossProbe::Route LossProbe::find_route(ValueId parameter, const std::set<ValueId>& cuts,
                                       const std::vector<std::size_t>& terms) const {
  const Graph& graph = training_.graph;
  Route route{{}, {}, std::vector<bool>(graph.values.size(), false)};
  route.moved[index(parameter)] = true;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    const Node& node = graph.node(id);
    if (!node.live || (node.section != Section::forward && node.section != Section::loss)) continue;
    bool moves = false;
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      moves = moves || (node.operands[i] != none && !is_held(node, i) && route.moved[index(node.operands[i])]);
    if (!moves) continue;
    route.nodes.push_back(id);
    for (ValueId result : node.results)
      if (result != none && !graph.at(result).stop_gradient && !cuts.contains(result))
        route.moved[index(result)] = true;
  }
  for (std::size_t term : terms)
    if (route.moved[index(training_.terms[term].value)]) route.terms.push_back(term);
  keep_needed(route);
  return route;
}

/// Of the nodes that move, those that some term of the route reads.
void LossProbe::keep_needed(Route& route) const {
  std::vector<bool> needed(route.moved.size(), false);
  for (std::size_t term : route.terms) needed[index(training_.terms[term].value)] = true;
  std::vector<NodeId> kept;
  for (auto id = route.nodes.rbegin(); id != route.nodes.rend(); ++id) {
    const Node& node = training_.graph.node(*id);
    bool wanted = false;
    for (ValueId result : node.results)
      wanted = wanted || (result != none && route.moved[index(result)] && needed[index(result)]);
    if (!wanted) continue;
    kept.insert(kept.begin(), *id);
    for (ValueId operand : node.operands)
      if (operand != none) needed[index(operand)] = true;
  }
  route.nodes = std::move(kept);
}

void LossProbe::run(const Node& node, const Route& route) {
  std::vector<Array*> operands;
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    const ValueId id = node.operands[i];
    const bool moved = id != none && route.moved[index(id)] && !is_held(node, i);
    operands.push_back(id == none ? nullptr : moved ? &moved_[index(id)] : &base_[index(id)]);
  }
  run_reference(node, std::move(operands), moved_, batch_);
  if (node.op->gradient_factor.empty()) return;
  const double factor = factor_of(node);
  for (ValueId id : node.results)
    for (std::int64_t i = 0; i < base_[index(id)].count(); ++i)
      moved_[index(id)][i] = base_[index(id)][i] + factor * (moved_[index(id)][i] - base_[index(id)][i]);
}

double LossProbe::factor_of(const Node& node) const {
  const std::string_view name = node.op->gradient_factor;
  if (node.attributes.has(name)) return node.attributes.number(name);
  return base_[index(node.operands.at(static_cast<std::size_t>(operand_index(*node.op, name))))][0];
}

std::vector<Array> run_with_rounding(const Interpreter& base, std::int64_t batch, double unit, std::uint64_t key) {
  const Graph& graph = base.training().graph;
  std::vector<Array> arrays = arrays_of(base);
  for (const Node& node : graph.nodes) {
    if (!node.live || node.section == Section::update) continue;
    std::vector<Array*> operands;
    for (ValueId id : node.operands) operands.push_back(id == none ? nullptr : &arrays[index(id)]);
    run_reference(node, std::move(operands), arrays, batch);
    for (ValueId id : node.results) {
      if (id == none || (graph.at(id).type.dtype != DType::f32 && graph.at(id).type.dtype != DType::f64)) continue;
      std::uint64_t element = 0;
      for (double& value : arrays[index(id)].data)
        value *= 1 + unit * (2 * static_cast<double>(uniform(key, static_cast<std::uint64_t>(id), element++)) - 1);
    }
  }
  return arrays;
}

}  // namespace weir
