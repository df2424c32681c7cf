// Random little models as specification text: random layers, terms anywhere, several on one node, with targets,
// weights, routing and exclusions. Beside the model stands the same model with watchers: more excluded and weight-0
// terms, metrics, taps, and tails that nothing trained reads.
#pragma once

#include "compiler/ir/op.hpp"
#include "tests/random_layers.hpp"

namespace weir {

struct RandomModel {
  std::int64_t batch = 1;
  nlohmann::ordered_json spec;    ///< the model
  nlohmann::ordered_json crowd;   ///< the same with watchers
  std::vector<std::string> taps;  ///< nodes of the crowded one
};

class ModelMaker : private LayerMaker {
 public:
  explicit ModelMaker(std::uint64_t seed) : LayerMaker(seed), seed_(seed) {}

  RandomModel make() {
    RandomModel model;
    model.batch = batch_;
    for (std::int64_t count = dice_.from_to(3, 11); count > 0; --count) add_layer();
    const std::size_t trained_layers = layers_.size();
    for (std::int64_t count = dice_.from_to(1, 5); count > 0; --count) add_term(terms_, count == 1);
    add_exclusions();
    model.spec = document(layers_, terms_, exclude_, {});
    add_watchers(trained_layers);
    model.crowd = document(crowd_, crowd_terms_, crowd_exclude_, metrics_);
    if (dice_.chance(0.3)) shuffle_layers(model);
    for (std::int64_t count = dice_.from_to(1, 3); count > 0; --count) model.taps.push_back(dice_.one_of(nodes_).name);
    return model;
  }

 private:
  Json optimizer() {
    switch (dice_.from_to(0, 3)) {
      case 0:
        return {{"type", "sgd"}, {"learning_rate", 0.01}};
      case 1:
        return {{"type", "sgd"}, {"learning_rate", 0.01}, {"momentum", 0.9}};
      case 2:
        return {{"type", "sgd"}, {"learning_rate", 0.005}, {"momentum", 0.5}, {"nesterov", true}};
      default:
        return {{"type", "adam"}, {"learning_rate", 0.001}};
    }
  }

  Json document(const Json& layers, const Json& terms, const Json& exclude, const Json& metrics) {
    if (optimizer_.is_null()) optimizer_ = optimizer();
    Json spec{{"format", "weir/1"}, {"name", "random_" + std::to_string(seed_)}, {"inputs", inputs_}};
    spec["layers"] = layers;
    spec["loss"] = Json{{"unreached", "allow"}, {"terms", terms}};
    if (!exclude.empty()) spec["loss"]["exclude"] = exclude;
    spec["train"] = Json{{"optimizer", optimizer_}, {"batch_size", batch_}, {"seed", seed_ % 1000}};
    if (!metrics.empty()) spec["train"]["metrics"] = metrics;
    return spec;
  }

  /// The graph, not the file, decides: the common layers in another order, the same in both.
  void shuffle_layers(RandomModel& model) {
    const std::uint64_t salt = dice_.next();
    for (Json* spec : {&model.spec, &model.crowd}) {
      std::vector<std::pair<std::uint64_t, Json>> entries;
      for (const Json& layer : (*spec)["layers"]) {
        std::uint64_t key = salt;
        for (char c : layer["name"].get<std::string>()) key = (key ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        entries.emplace_back(Dice(key).next(), layer);
      }
      std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      (*spec)["layers"] = Json::array();
      for (auto& [key, layer] : entries) (*spec)["layers"].push_back(std::move(layer));
    }
  }

  // --- Terms and metrics

  /// An input of the node's shape, or of the classes of its rows.
  Json class_target(const NodeInfo& at, bool one_hot) {
    Dims shape = at.dims;
    shape.pop_back();
    Json target{{"input", add_input("classes" + std::to_string(at.dims.back()), shape, "i32")}};
    if (one_hot) target["one_hot"] = at.dims.back();
    return target;
  }

  /// Of a loss over entries. between: only values in [0, 1].
  Json entries_target(const NodeInfo& at, bool between) {
    const double what = dice_.uniform();
    const std::vector<NodeInfo> others = all([&](const NodeInfo& node) {
      const bool same = node.name == at.name || node.first == at.name || at.first == node.name;  // could cancel exactly
      return (!between || is_between(node)) && !same && !node.input && node.dims == at.dims;
    });
    if (what < 0.35 && !others.empty()) return {{"node", dice_.one_of(others).name}};
    if (what < 0.55) return {{"constant", between ? dice_.number(0, 1) : dice_.number(-0.5, 0.5)}};
    if (what < 0.65) return {{"input", add_input("classes2", at.dims, "i32")}};
    if (what < 0.75 && !at.dims.empty() && at.dims.back() <= 17) return class_target(at, true);
    return {{"input", add_input("target", at.dims)}};
  }

  static bool has_classes(const NodeInfo& at) {
    return !at.dims.empty() && at.dims.back() >= 2 && at.dims.back() <= 17;
  }
  static bool is_between(const NodeInfo& at) { return at.made_by == "sigmoid" || at.made_by == "softmax"; }

  /// A loss and its target where the node's values suit it.
  Json loss_at(const NodeInfo& at) {
    const double what = dice_.uniform();
    if (has_classes(at) && what < (at.made_by == "softmax" ? 0.5 : 0.15)) return class_loss(at);
    if (what < 0.3) return yes_or_no_loss(at);
    if (what < 0.4) return {{"type", "value"}, {"at", at.name}};
    if (is_between(at) && what < 0.6)
      return {{"type", dice_.one_of<std::string>({"poisson", "mean_squared_logarithmic_error"})},
              {"at", at.name},
              {"target", entries_target(at, true)}};
    if (has_classes(at) && what < 0.7)
      return {{"type", at.made_by == "softmax" ? "kl_divergence" : "cosine_similarity"},
              {"at", at.name},
              {"target", {{"input", add_input("target", at.dims)}}}};
    return {{"type", dice_.one_of<std::string>({"mean_squared_error", "mean_squared_error", "mean_absolute_error",
                                                "mean_absolute_error", "huber", "log_cosh"})},
            {"at", at.name},
            {"target", entries_target(at, false)}};
  }

  Json class_loss(const NodeInfo& at) {
    const std::string type = dice_.one_of<std::string>({"sparse_categorical_crossentropy", "categorical_crossentropy",
                                                        "categorical_crossentropy", "categorical_focal_crossentropy"});
    const bool sparse = type.starts_with("sparse");
    Json term{{"type", type}, {"at", at.name}};
    if (dice_.chance(0.15))
      term["target"] = {{"constant", sparse ? static_cast<double>(at.dims.back() - 1) : 0.25}};
    else if (!sparse && dice_.chance(0.3))
      term["target"] = {{"input", add_input("target", at.dims)}};
    else
      term["target"] = class_target(at, !sparse);
    if (!sparse && dice_.chance(0.2)) term["label_smoothing"] = 0.1;
    say_from_logits(term, at, "softmax");
    return term;
  }

  /// Each entry by itself: a probability or its logit, or a side of a margin.
  Json yes_or_no_loss(const NodeInfo& at) {
    if (dice_.chance(0.2))
      return {{"type", dice_.one_of<std::string>({"hinge", "squared_hinge"})},
              {"at", at.name},
              {"target", {{"input", add_input("classes2", at.dims, "i32")}}},
              {"zero_one", true}};
    const bool focal = dice_.chance(0.2);
    Json term{{"type", focal ? "binary_focal_crossentropy" : "binary_crossentropy"}, {"at", at.name}};
    term["target"] = entries_target(at, true);
    say_from_logits(term, at, "sigmoid");
    return term;
  }

  /// Of a loss that needs no logits behind its node. By dice of their own, so that the models stay what they were.
  void let_target_learn(Json& term) {
    const std::string type = term["type"];
    const bool able = type.starts_with("mean_") || type == "huber" || type == "log_cosh" || type == "poisson";
    if (!able || !term["target"].contains("node") || !Dice(seed_ + static_cast<std::uint64_t>(made_)).chance(0.5))
      return;
    term["target"]["gradient"] = true;
  }

  /// Along another axis than the last, where the loss can and its target has the node's shape; the axis.
  static std::int64_t turn(Json& term, const NodeInfo& at, Dice& dice) {
    const OpDef& op = *find_op(term["type"].get<std::string>());
    const bool of_classes = op.integer_target || (op.class_target && term["target"].contains("one_hot"));
    const bool able = find_attribute(op, "axis") && find_attribute(op, "reduction") && !of_classes;
    const bool says = op.class_target ? op.logits_behind.empty() || term.contains("from_logits") : true;
    if (!able || !says || at.dims.size() < 2 || !dice.chance(0.4)) return -1;
    const std::int64_t axis = -dice.from_to(2, static_cast<std::int64_t>(at.dims.size()));
    term["axis"] = axis;
    return axis;
  }

  /// Masks, weights of samples, entries and classes, ignored classes, smoothed labels; what the op takes of them. By
  /// dice of their own too.
  void weigh(Json& term, const NodeInfo& at) {
    Dice dice(seed_ * 31 + static_cast<std::uint64_t>(made_) + inputs_.size());
    const OpDef& op = *find_op(term["type"].get<std::string>());
    const bool weighted = std::any_of(op.operands.begin(), op.operands.end(),
                                      [](const OperandDef& operand) { return operand.name == "entry_weights"; });
    const std::int64_t axis = turn(term, at, dice);
    if (!weighted || !dice.chance(0.45)) return;
    Dims entries = at.dims;
    if (!op.entry_each && !entries.empty()) entries.erase(entries.end() + axis);
    const auto input = [&](const char* stem, double chance) {
      if (!dice.chance(chance)) return Json();
      return Json{{"input", add_input(stem, dice.chance(0.3) ? Dims{} : entries, dice.chance(0.3) ? "i32" : "f32")}};
    };
    for (const auto& [key, stem] : {std::pair("mask", "mask"), std::pair("sample_weight", "weights")})
      if (const Json given = input(stem, 0.5); !given.is_null()) term[key] = given;
    const bool of_input = term.contains("target") && term["target"].contains("input");
    const bool rows = op.class_target || op.integer_target;
    const std::int64_t classes = rows && !at.dims.empty() ? *(at.dims.end() + axis) : 2;
    if (find_attribute(op, "class_weight") && of_input && (rows || at.dims == Dims{1}) && dice.chance(0.8))
      for (std::int64_t i = 0; i < classes; ++i) term["class_weight"].push_back(dice.number(0.25, 2));
    if (find_attribute(op, "ignore_class") && of_input && dice.chance(0.7))
      term["ignore_class"] = classes > 2 ? dice.from_to(-1, classes - 1) : -1;
    if (find_attribute(op, "label_smoothing") && dice.chance(0.3)) term["label_smoothing"] = dice.number(0.05, 0.3);
    if (term.contains("sample_weight") && find_attribute(op, "reduction") && dice.chance(0.3))
      term["reduction"] = "mean_with_sample_weight";
  }

  void say_from_logits(Json& term, const NodeInfo& at, const std::string& behind) {
    if (at.made_by != behind)
      term["from_logits"] = true;
    else if (dice_.chance(0.2))
      term["from_logits"] = false;
  }

  std::string any_layer() { return layers_[static_cast<std::size_t>(dice_.next() % layers_.size())]["name"]; }

  void add_routing(Json& term) {
    if (dice_.chance(0.15)) {
      term["stop_at"].push_back(dice_.one_of(nodes_).name);
      if (dice_.chance(0.3)) term["stop_at"].push_back(dice_.one_of(nodes_).name);
    }
    const double what = dice_.uniform();
    if (what < 0.12) term["skip"].push_back(any_layer());
    if (what > 0.88)
      for (std::int64_t count = dice_.from_to(1, 3); count > 0; --count) term["only"].push_back(any_layer());
  }

  /// sure: with a weight above 0, at a node with parameters behind it where there is one, and nothing cut.
  void add_term(Json& terms, bool sure) {
    NodeInfo at = dice_.one_of(nodes_);
    if (sure || at.input)
      if (const auto useful = all([](const NodeInfo& node) { return node.parameters; }); !useful.empty())
        if (sure || !dice_.chance(0.2)) at = dice_.one_of(useful);
    const std::string name = "term_" + std::to_string(++made_);
    const std::int64_t again = terms.empty() ? 1 : dice_.from_to(1, dice_.chance(0.2) ? 2 : 1);
    for (std::int64_t i = 0; i < again; ++i) {  // several on one node
      Json term = loss_at(at);
      let_target_learn(term);
      if (dice_.chance(0.7)) term["weight"] = dice_.number(0.1, 3);
      if (dice_.chance(0.25)) term["reduction"] = dice_.one_of<std::string>({"sum", "batch_mean"});
      if (term.value("reduction", "") == "sum") term["weight"] = dice_.number(0.01, 0.1);  // or training diverges
      weigh(term, at);
      if (!sure && dice_.chance(0.15)) term["weight"] = 0;
      if (!sure) add_routing(term);
      terms[name + (i ? "b" : "")] = term;
      if (sure) kept_ = name;
    }
  }

  /// Nodes and terms, but never the one that is surely trained.
  void add_exclusions() {
    if (!dice_.chance(0.3)) return;
    const std::string kept_at = layer_of(terms_[kept_]["at"]);
    for (const auto& [name, term] : terms_.items()) {
      if (name == kept_ || !dice_.chance(0.4)) continue;
      const std::string at = term["at"];
      if (layer_of(at) != kept_at && dice_.chance(0.5))
        exclude(exclude_, dice_.chance(0.5) ? at : layer_of(at));
      else
        exclude(exclude_, name);
    }
  }
  static void exclude(Json& list, const std::string& name) {
    if (std::find(list.begin(), list.end(), Json(name)) == list.end()) list.push_back(name);
  }
  static std::string layer_of(const std::string& node) { return node.substr(0, node.find(':')); }

  // --- Watchers

  Json metric_at(const NodeInfo& at) {
    const double what = dice_.uniform();
    const bool classes = has_classes(at);
    if (what < 0.25) return {{"type", "mean"}, {"at", at.name}};
    if (what < 0.5 && classes)
      return {{"type", "categorical_accuracy"}, {"at", at.name}, {"target", class_target(at, true)}};
    if (what < 0.6 && classes)
      return {{"type", "sparse_categorical_accuracy"}, {"at", at.name}, {"target", class_target(at, false)}};
    if (what < 0.7)
      return {
          {"type", "binary_accuracy"}, {"at", at.name}, {"target", {{"input", add_input("classes2", at.dims, "i32")}}}};
    return loss_at(at);
  }

  /// Tails behind the trained layers, then terms that do not train and metrics, among the others and everywhere.
  void add_watchers(std::size_t trained_layers) {
    crowd_exclude_ = exclude_;
    for (std::int64_t count = dice_.from_to(0, 3); count > 0; --count) add_layer();
    crowd_ = layers_;
    std::vector<std::pair<std::string, Json>> entries;
    for (const auto& [name, term] : terms_.items()) entries.emplace_back(name, term);
    for (std::int64_t count = dice_.from_to(1, 4); count > 0; --count) {
      const NodeInfo at = dice_.one_of(nodes_);
      Json term = loss_at(at);
      weigh(term, at);
      const std::string name = "extra_" + std::to_string(++made_);
      if (dice_.chance(0.5))
        term["weight"] = 0;
      else if (is_new(at, trained_layers) && dice_.chance(0.5))
        exclude(crowd_exclude_, at.name);
      else
        exclude(crowd_exclude_, name);
      const auto where = dice_.from_to(0, static_cast<std::int64_t>(entries.size()));
      entries.insert(entries.begin() + where, {name, term});
    }
    for (auto& [name, term] : entries) crowd_terms_[name] = std::move(term);
    for (std::int64_t count = dice_.from_to(0, 3); count > 0; --count) {
      const NodeInfo at = dice_.one_of(nodes_);
      Json metric = metric_at(at);
      weigh(metric, at);
      metric.erase("reduction");  // a metric has none
      metrics_["metric_" + std::to_string(++made_)] = metric;
    }
  }

  bool is_new(const NodeInfo& node, std::size_t trained_layers) const {
    for (std::size_t i = trained_layers; i < layers_.size(); ++i)
      if (layers_[i]["name"] == layer_of(node.name)) return true;
    return false;
  }

  std::uint64_t seed_;
  std::string kept_;
  Json terms_ = Json::object(), exclude_ = Json::array();
  Json crowd_, crowd_terms_ = Json::object(), crowd_exclude_, metrics_ = Json::object(), optimizer_;
};

inline RandomModel random_model(std::uint64_t seed) { return ModelMaker(seed).make(); }

}  // namespace weir
