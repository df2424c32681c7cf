// What the numbers of a random model must be, in double precision: values that stay clear of kinks, the interpreter's
// gradients, and an oracle for who hears whom that knows neither routing nor differentiation. It rewrites a term's
// specification so that every cut is an input of its own that holds the value found there; what then still reaches the
// loss is what the term trains, and central differences say by how much.
#pragma once

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "compiler/interpret/interpret.hpp"
#include "compiler/ops/pooling.hpp"
#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"
#include "tests/random_model.hpp"

namespace weir {

using Values = std::map<std::string, Array, std::less<>>;

inline Spec parsed(const nlohmann::ordered_json& json) {
  Diagnostics diagnostics("random", json.dump(1));
  Spec spec = parse_spec(json.dump(1), "random", diagnostics);
  if (diagnostics.has_errors()) throw Error(ErrorCode::invalid_argument, diagnostics.to_text());
  return spec;
}

inline Graph forward_graph(const Spec& spec) {
  Diagnostics diagnostics;
  Graph graph = build_graph(spec, Mode::training, diagnostics);
  if (diagnostics.has_errors()) throw Error(ErrorCode::invalid_argument, diagnostics.to_text());
  return graph;
}

inline TrainingGraph with_losses(const Spec& spec, const std::string& only_term = "") {
  Diagnostics diagnostics;
  TrainingGraph training = attach_losses(spec, forward_graph(spec), diagnostics, only_term);
  if (diagnostics.has_errors()) throw Error(ErrorCode::invalid_argument, diagnostics.to_text());
  return training;
}

inline TrainingGraph trained_graph(const Spec& spec, const std::string& only_term = "") {
  return prune(add_updates(spec, differentiate(with_losses(spec, only_term))));
}

// --- Values

/// One draw of everything that comes from outside. Of moderate size, so that nothing saturates; each draw is smaller.
inline Array drawn(const Value& value, std::int64_t batch, std::uint64_t seed, int draw) {
  std::uint64_t key = seed + static_cast<std::uint64_t>(draw) * 1000003u;
  for (char c : value.name) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  Dice dice(key);
  Array array(full_dims(value.type, batch));
  const auto is = [&](std::string_view word) { return value.name.find(word) != std::string::npos; };
  const double scale = std::pow(0.8, draw);
  const double fan_in = static_cast<double>(array.count()) /
                        static_cast<double>(std::max<std::int64_t>(1, array.dims.empty() ? 1 : array.dims.back()));
  for (double& x : array.data) {
    if (value.name.starts_with("mask"))
      x = &x == array.data.data() || dice.chance(0.6) ? 1 : 0;
    else if (value.name.starts_with("weights"))
      x = dice.chance(0.2)                 ? 0
          : value.type.dtype == DType::i32 ? 1 + std::floor(2 * dice.uniform())
                                           : dice.number(0.25, 2);
    else if (value.type.dtype == DType::i32)
      x = std::floor(dice.uniform() * std::stod(value.name.substr(7)));
    else if (value.name.starts_with("target"))
      x = dice.uniform();
    else if (is(".kernel"))
      x = (2 * dice.uniform() - 1) * std::sqrt(3 / fan_in) * scale;
    else if (is(".gamma") || is("variance"))
      x = (0.5 + dice.uniform()) * scale;
    else
      x = (2 * dice.uniform() - 1) * (value.kind == ValueKind::input ? 1 : 0.4);
    x = static_cast<double>(static_cast<float>(x));
  }
  return array;
}

inline Values drawn(const Graph& graph, std::int64_t batch, std::uint64_t seed, int draw) {
  Values values;
  for (const Value& value : graph.values)
    if (value.kind == ValueKind::input || value.kind == ValueKind::parameter || value.kind == ValueKind::statistic)
      values.emplace(value.name, drawn(value, batch, seed, draw));
  return values;
}

/// Ready to compute; values that the graph does not have are left out.
inline Interpreter interpreter_of(TrainingGraph training, std::int64_t batch, const Values& values, double seed) {
  Interpreter run(std::move(training), batch);
  const Graph& graph = run.training().graph;
  for (const auto& [name, array] : values)
    if (graph.find(name) != none) run.set(name, array);
  if (graph.find_scalar("seed") != none) run.set_scalar("seed", seed);
  if (graph.find_scalar("learning_rate") != none) run.set_scalar("learning_rate", 0.01);
  return run;
}

// --- Kinks: where rounding alone may change a gradient

inline double largest(const Array& array) {
  double most = 0;
  for (double x : array.data) most = std::max(most, std::abs(x));
  return most;
}

inline double sum_of_sizes(const Array& array) {
  double sum = 0;
  for (double x : array.data) sum += std::abs(x);
  return sum;
}

inline ValueId operand_of(const Node& node, std::string_view name) {
  for (std::size_t i = 0; i < node.operands.size(); ++i)
    if (node.op->operands[i].name == name) return node.operands[i];
  return none;
}

/// What a parameter's gradient is added up from, for a bound of its rounding: more than its largest entry where it
/// cancels, as for a bias before a batch_normalization or for a target that equals its prediction.
inline double added_up(const Interpreter& run) {
  const TrainingGraph& training = run.training();
  double most = 0, seeds = 0;
  for (const Node& node : training.graph.nodes)
    if (node.live && node.section == Section::backward)
      for (ValueId result : node.results)
        if (result != none) most = std::max(most, sum_of_sizes(run.value(result)));
  for (const LossTerm& term : training.terms) {
    if (term.role != TermRole::trained) continue;
    const Array& prediction = run.value(term.prediction);
    const Node& node = training.graph.node(term.node);
    const std::string reduction = node.attributes.word("reduction");
    const double entries = static_cast<double>(prediction.count());
    double divisor = reduction == "mean" ? entries : reduction == "sum" ? 1 : prediction.dims.front();
    if (const ValueId weights = operand_of(node, "entry_weights"); weights != none) {
      const double averaged = entries / static_cast<double>(run.value(weights).count()),
                   most = largest(run.value(weights));
      divisor = most == 0 ? 1 : averaged * run.value(operand_of(node, "denominator"))[0] / most;
      if (reduction != "mean" && reduction != "mean_with_sample_weight") divisor /= averaged;
    }
    seeds += term.constant_weight * (entries + sum_of_sizes(prediction)) / divisor;
  }
  return std::max(most, seeds);
}

/// How far a node is from its nearest kink, relative to its values. Exactly on a kink is another matter: f32 and double
/// both hit it, but no difference tells the slope there.
class Kinks {
 public:
  explicit Kinks(const Interpreter& run) : run_(run) {
    for (const Node& node : run.training().graph.nodes)
      if (node.live) visit(node);
  }
  double nearest() const { return nearest_; }
  bool any_hit() const { return hit_; }

 private:
  const Array& operand(const Node& node, std::size_t index) const { return run_.value(node.operands[index]); }
  void gap(double distance, double size) {
    if (distance == 0)
      hit_ = true;
    else
      nearest_ = std::min(nearest_, std::abs(distance) / std::max(size, 1e-3));
  }

  void visit(const Node& node) {
    const std::string_view op = node.op->name;
    if (op == "relu") {
      const double size = largest(operand(node, 0));
      for (double value : operand(node, 0).data) gap(value, size);
    } else if (op == "max_pooling2d") {
      pooling(node);
    } else if (op == "mean_absolute_error") {
      for (std::int64_t i = 0; i < operand(node, 0).count(); ++i) gap(operand(node, 0)[i] - target(node, i), 1);
    } else if (op == "hinge") {
      for (std::int64_t i = 0; i < operand(node, 0).count(); ++i)
        gap(1 - (2 * target(node, i) - 1) * operand(node, 0)[i], 1);
    } else if (reads_probabilities(node)) {
      for (double p : operand(node, 0).data)
        if (p < 1e-3 || p > 1 - 1e-3) nearest_ = 0;  // steep there, and clipped further out
    }
  }

  static bool reads_probabilities(const Node& node) {
    const std::string_view op = node.op->name;
    if (op == "kl_divergence" || op == "poisson") return true;
    return !node.op->logits_behind.empty() && !node.attributes.flag("from_logits");
  }
  double target(const Node& node, std::int64_t entry) const {
    return node.operands[1] == none ? node.attributes.number("constant") : operand(node, 1)[entry];
  }

  void pooling(const Node& node) {
    const Array &x = operand(node, 0), &y = run_.value(node.results[0]), &winner = run_.value(node.results[1]);
    const double size = largest(x);
    ops::for_each_pooled_cell(x.dims, y.dims, node.attributes,
                              [&](const ops::Tap& tap, std::int64_t in, std::int64_t out) {
                                if (static_cast<double>(tap.index) != winner[out]) gap(x[in] - y[out], size);
                              });
  }

  const Interpreter& run_;
  double nearest_ = std::numeric_limits<double>::infinity();
  bool hit_ = false;
};

// --- The cut specification of one term

class CutTerm {
 public:
  /// whole: every forward value of the uncut model.
  CutTerm(const nlohmann::ordered_json& model, const std::string& term, const Interpreter& whole, std::int64_t batch,
          Values values, double seed)
      : json_(model), name_(term), whole_(whole), values_(std::move(values)) {
    const nlohmann::ordered_json kept = json_["loss"]["terms"][term];
    collect_cuts(kept);
    if (cuts_.contains(kept["at"]) && !learns(kept)) return;  // the term sees a constant: it trains nothing
    split_activations();
    hold_cuts();
    const Spec spec = parsed(json_);
    TrainingGraph training = prune(with_losses(spec, name_));
    find_heard(training, model, kept);
    run_.emplace_back(interpreter_of(std::move(training), batch, values_, seed));
  }

  /// Parameters that this term trains, by their names in the uncut model.
  const std::set<std::string>& heard() const { return heard_; }

  /// The term's value with every heard parameter moved along a direction (its own name in the uncut model).
  double value_at(const Values& direction, double step) {
    Interpreter& run = run_.front();
    for (const auto& [cut_name, name] : names_) {
      Array moved = values_.at(cut_name);
      for (std::int64_t i = 0; i < moved.count(); ++i) moved[i] += step * direction.at(name)[i];
      run.set(cut_name, std::move(moved));
    }
    run.compute();
    return run.value("loss." + name_)[0];
  }

 private:
  using Json = nlohmann::ordered_json;

  void collect_cuts(const Json& term) {
    for (const Json& layer : json_["layers"]) {
      if (!layer.value("stop_gradient", false)) continue;
      cuts_.insert(layer["name"].get<std::string>());
      cuts_.insert(layer["name"].get<std::string>() + ":linear");
    }
    if (term.contains("stop_at"))
      for (const Json& node : term["stop_at"]) cuts_.insert(node.get<std::string>());
  }

  /// Whether its target is a node that hears it.
  bool learns(const Json& term) const {
    return term.contains("target") && term["target"].value("gradient", false) &&
           !cuts_.contains(term["target"]["node"]);
  }

  static bool is_split(const Json& layer) { return layer.value("activation", "linear") != "linear"; }

  /// Every layer with an activation becomes two, so that its port is a layer that can be held.
  void split_activations() {
    std::set<std::string> split;
    for (const Json& layer : json_["layers"])
      if (is_split(layer)) split.insert(layer["name"].get<std::string>());
    Json layers = Json::array();
    for (Json layer : json_["layers"]) {
      const std::string name = layer["name"];
      if (layer.contains("share") && split.contains(layer["share"])) layer["share"] = linear_of(layer["share"]);
      layer.erase("stop_gradient");
      if (!is_split(layer)) {
        layers.push_back(std::move(layer));
        continue;
      }
      const std::string activation = layer["activation"];
      layer.erase("activation");
      layer["name"] = linear_of(name);
      layers.push_back(std::move(layer));
      layers.push_back({{"name", name}, {"type", activation}, {"from", name + ":linear"}});
      for (const auto& [parameter, value] : Values(values_))
        if (parameter.starts_with(name + ".")) {
          values_.emplace(linear_of(name) + parameter.substr(name.size()), value);
          owners_[linear_of(name)] = name;
        }
    }
    json_["layers"] = std::move(layers);
  }
  static std::string linear_of(const std::string& layer) { return layer + "_before"; }

  /// A cut node is read from an input; a port is the split layer.
  std::string node_in_cut_model(const std::string& node) {
    if (cuts_.contains(node)) return held(node);
    return node.ends_with(":linear") ? linear_of(node.substr(0, node.find(':'))) : node;
  }

  std::string held(const std::string& node) {
    std::string name = "held_" + node;
    if (const auto colon = name.find(':'); colon != std::string::npos) name.replace(colon, 1, "_");
    if (!values_.contains(name)) {
      const Array& value = whole_.value(node);
      json_["inputs"][name] = Json{{"shape", Dims(value.dims.begin() + 1, value.dims.end())}};
      values_.emplace(name, value);
    }
    return name;
  }

  void hold_cuts() {
    Json kept = json_["loss"]["terms"][name_];
    for (const char* key : {"stop_at", "skip", "only", "weight"}) kept.erase(key);
    for (Json& layer : json_["layers"])
      if (layer["from"].is_string())
        layer["from"] = node_in_cut_model(layer["from"]);
      else
        for (Json& from : layer["from"]) from = node_in_cut_model(from);
    kept["at"] = node_in_cut_model(kept["at"]);
    if (learns(kept))
      kept["target"]["node"] = node_in_cut_model(kept["target"]["node"]);
    else if (kept.contains("target") && kept["target"].contains("node"))
      kept["target"] = {{"input", held(kept["target"]["node"])}};
    json_["loss"] = {{"unreached", "allow"}, {"terms", {{name_, kept}}}};
    json_["train"].erase("metrics");
  }

  /// Owners of parameters that the term may train, and a walk over everything its value is computed from.
  void find_heard(const TrainingGraph& training, const Json& model, const Json& term) {
    std::set<std::string> owners;
    const auto lists = [&](const char* key, const std::string& layer) {
      return term.contains(key) && std::find(term[key].begin(), term[key].end(), Json(layer)) != term[key].end();
    };
    for (const Json& layer : model["layers"]) {
      const std::string name = layer["name"];
      if (layer.value("trainable", true) && !lists("skip", name) && (!term.contains("only") || lists("only", name)))
        owners.insert(name);
    }
    std::vector<ValueId> open{training.graph.find("loss." + name_)};
    std::set<ValueId> seen;
    while (!open.empty()) {
      const ValueId id = open.back();
      open.pop_back();
      if (id == none || !seen.insert(id).second) continue;
      const Value& value = training.graph.at(id);
      if (value.kind == ValueKind::parameter) hear(value, owners);
      if (value.producer == none) continue;
      for (ValueId operand : training.graph.node(value.producer).operands) open.push_back(operand);
    }
  }

  void hear(const Value& parameter, const std::set<std::string>& owners) {
    const auto found = owners_.find(parameter.layer);
    const std::string owner = found == owners_.end() ? parameter.layer : found->second;
    if (!owners.contains(owner)) return;
    const std::string name = owner + parameter.name.substr(parameter.layer.size());
    heard_.insert(name);
    names_.emplace(parameter.name, name);
  }

  Json json_;
  std::string name_;
  const Interpreter& whole_;
  Values values_;
  std::set<std::string> cuts_, heard_;
  std::map<std::string, std::string> owners_;  ///< split layer → the layer it was
  std::map<std::string, std::string> names_;   ///< parameter here → in the uncut model
  std::vector<Interpreter> run_;               ///< none where the term trains nothing
};

}  // namespace weir
