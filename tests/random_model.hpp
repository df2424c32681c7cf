// Random little models as specification text: any layer may read any node that fits, so branches fan out and meet
// again; terms sit anywhere, several on one node; routing cuts where it likes. The seed decides everything, on every
// machine. Beside the model stands the same model with watchers: more excluded and weight-0 terms, metrics, taps and
// tails that nothing trained reads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/tensor.hpp"

namespace weir {

/// splitmix64 (G. Steele et al., "Fast splittable pseudorandom number generators", 2014).
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  bool chance(double probability) { return uniform() < probability; }
  std::int64_t from_to(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(most - least + 1));
  }
  /// Two decimals, as people write them.
  double number(double least, double most) {
    return static_cast<double>(from_to(static_cast<std::int64_t>(least * 100), static_cast<std::int64_t>(most * 100))) /
           100;
  }
  template <class T>
  T one_of(const std::vector<T>& choices) {
    return choices[static_cast<std::size_t>(from_to(0, static_cast<std::int64_t>(choices.size()) - 1))];
  }

 private:
  std::uint64_t state_;
};

struct RandomModel {
  std::int64_t batch = 1;
  nlohmann::ordered_json spec;    ///< the model
  nlohmann::ordered_json crowd;   ///< the same with watchers
  std::vector<std::string> taps;  ///< nodes of the crowded one
};

class ModelMaker {
 public:
  explicit ModelMaker(std::uint64_t seed) : dice_(seed), seed_(seed) {}

  RandomModel make() {
    RandomModel model;
    model.batch = dice_.one_of<std::int64_t>({1, 2, 3, 4, 5, 7});
    batch_ = model.batch;
    add_inputs();
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
  using Json = nlohmann::ordered_json;
  struct NodeInfo {
    std::string name;
    Dims dims;
    std::string made_by;      ///< the op whose result it directly is
    bool parameters = false;  ///< some layer behind it has some
    bool input = false;
    std::string first = "";  ///< what it reads first
  };

  static std::int64_t count_of(const Dims& dims) { return element_count(dims); }
  static bool is_image(const NodeInfo& node) { return node.dims.size() == 3; }

  // --- Inputs and the document

  std::string add_input(const std::string& stem, const Dims& shape, const char* dtype = "f32") {
    const std::string name = stem + "_" + std::to_string(inputs_.size());
    inputs_[name] = Json{{"shape", shape}};
    if (std::string(dtype) != "f32") inputs_[name]["dtype"] = dtype;
    return name;
  }

  void add_inputs() {
    for (std::int64_t count = dice_.from_to(1, 2); count > 0; --count) {
      const std::int64_t channels = dice_.one_of<std::int64_t>({1, 2, 3, 4, 8});
      Dims shape{dice_.from_to(3, 8), dice_.from_to(3, 8), channels};
      if (dice_.chance(0.3)) shape = {dice_.from_to(1, 17)};
      const std::string name = add_input(shape.size() == 3 ? "image" : "row", shape);
      nodes_.push_back({name, shape, "input", false, true});
    }
  }

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

  // --- Layers

  /// The latest often, so that models are deep; any other one else, so that they branch.
  NodeInfo pick() {
    if (dice_.chance(0.5)) return nodes_.back();
    return dice_.one_of(nodes_);
  }
  template <class Fits>
  std::vector<NodeInfo> all(Fits fits) const {
    std::vector<NodeInfo> found;
    for (const NodeInfo& node : nodes_)
      if (fits(node)) found.push_back(node);
    return found;
  }

  std::string new_name(const std::string& type) { return type + "_" + std::to_string(++made_); }

  void append(const std::string& type, const std::vector<NodeInfo>& from, Dims dims, Json settings) {
    const std::string name = new_name(type.substr(0, 5));
    Json layer{{"name", name}, {"type", type}};
    if (from.size() == 1)
      layer["from"] = from[0].name;
    else
      for (const NodeInfo& node : from) layer["from"].push_back(node.name);
    layer.update(settings);
    bool parameters = type == "conv2d" || type == "dense" || type == "batch_normalization";
    if (parameters && dice_.chance(0.07)) layer["trainable"] = false;
    if ((type == "batch_normalization" || type == "dropout") && dice_.chance(0.15)) layer["training"] = false;
    if (dice_.chance(0.05)) layer["stop_gradient"] = true;
    for (const NodeInfo& node : from) parameters = parameters || node.parameters;
    layers_.push_back(layer);
    const std::string activation = settings.value("activation", "linear");
    if (activation != "linear") nodes_.push_back({name + ":linear", dims, type, parameters, false, from[0].name});
    const bool linear = activation == "linear";
    nodes_.push_back({name, std::move(dims), linear ? type : activation, parameters, false,
                      linear ? from[0].name : name + ":linear"});
  }

  void add_layer() {
    using Make = bool (ModelMaker::*)();
    static const std::vector<Make> makers{&ModelMaker::conv2d,      &ModelMaker::conv2d,      &ModelMaker::conv2d,
                                          &ModelMaker::pooling,     &ModelMaker::pooling,     &ModelMaker::dense,
                                          &ModelMaker::dense,       &ModelMaker::activation,  &ModelMaker::activation,
                                          &ModelMaker::normalize,   &ModelMaker::dropout,     &ModelMaker::flatten,
                                          &ModelMaker::reshape,     &ModelMaker::rescaling,   &ModelMaker::add,
                                          &ModelMaker::add,         &ModelMaker::residual,    &ModelMaker::residual,
                                          &ModelMaker::concatenate, &ModelMaker::concatenate, &ModelMaker::shared};
    while (!(this->*dice_.one_of(makers))()) {
    }
  }

  void maybe_activation(Json& settings) {
    if (dice_.chance(0.6))
      settings["activation"] =
          dice_.one_of<std::string>({"relu", "relu", "relu", "tanh", "sigmoid", "softmax", "linear"});
  }

  /// One axis: the output's size, 0 where the window does not fit; same: as many as strides fit, rounded up.
  static std::int64_t slots(std::int64_t size, std::int64_t window, std::int64_t stride, const Json& padding,
                            std::size_t axis) {
    if (padding.is_string() && padding == "same") return (size + stride - 1) / stride;
    if (padding.is_array()) size += padding[axis][0].get<std::int64_t>() + padding[axis][1].get<std::int64_t>();
    return size < window ? 0 : (size - window) / stride + 1;
  }

  Json padding(std::int64_t below) {
    const double what = dice_.uniform();
    if (what < 0.4) return "same";
    if (what < 0.75 || below < 1) return "valid";
    const auto side = [&] { return dice_.from_to(0, below - 1); };
    return Json::array({Json::array({side(), side()}), Json::array({side(), side()})});
  }

  bool conv2d() {
    const NodeInfo from = pick();
    if (!is_image(from)) return false;
    const std::int64_t rows = dice_.from_to(1, 3), columns = dice_.from_to(1, 3);
    Dims strides{1, 1}, dilation{1, 1};
    if (dice_.chance(0.35))
      strides = {dice_.from_to(1, 3), dice_.from_to(1, 3)};
    else if (dice_.chance(0.15))
      dilation = {dice_.from_to(1, 2), dice_.from_to(1, 2)};
    const Json pad = padding(std::min(rows, columns));
    std::int64_t filters = dice_.one_of<std::int64_t>({1, 2, 3, 4, 5, 6, 8, 16, 17}), groups = 1;
    for (std::int64_t divisor : {8, 4, 3, 2})
      if (from.dims[2] % divisor == 0 && groups == 1 && dice_.chance(0.4)) groups = divisor;
    if (groups > 1) filters = groups * dice_.from_to(1, 2);
    const Dims dims{slots(from.dims[0], (rows - 1) * dilation[0] + 1, strides[0], pad, 0),
                    slots(from.dims[1], (columns - 1) * dilation[1] + 1, strides[1], pad, 1), filters};
    if (dims[0] < 1 || dims[1] < 1 || count_of(dims) > 500) return false;
    Json settings{{"filters", filters}};
    settings["kernel_size"] = rows == columns && dice_.chance(0.5) ? Json(rows) : Json{rows, columns};
    if (strides != Dims{1, 1}) settings["strides"] = strides;
    if (dilation != Dims{1, 1}) settings["dilation_rate"] = dilation;
    if (pad != "valid") settings["padding"] = pad;
    if (groups > 1) settings["groups"] = groups;
    if (dice_.chance(0.2)) settings["use_bias"] = false;
    maybe_activation(settings);
    append("conv2d", {from}, dims, settings);
    return true;
  }

  bool pooling() {
    const NodeInfo from = pick();
    if (!is_image(from)) return false;
    const std::int64_t rows = dice_.from_to(1, 3), columns = dice_.from_to(1, 3);
    const Json pad = padding(std::min(rows, columns));
    Dims strides{rows, columns};
    if (dice_.chance(0.5)) strides = {dice_.from_to(1, 3), dice_.from_to(1, 3)};
    const Dims dims{slots(from.dims[0], rows, strides[0], pad, 0), slots(from.dims[1], columns, strides[1], pad, 1),
                    from.dims[2]};
    if (dims[0] < 1 || dims[1] < 1) return false;
    Json settings{{"pool_size", {rows, columns}}};
    if (strides != Dims{rows, columns}) settings["strides"] = strides;
    if (pad != "valid") settings["padding"] = pad;
    append(dice_.chance(0.5) ? "max_pooling2d" : "average_pooling2d", {from}, dims, settings);
    return true;
  }

  bool dense() {
    const NodeInfo from = pick();
    if (from.dims.empty()) return false;
    Dims dims = from.dims;
    dims.back() = dice_.one_of<std::int64_t>({1, 2, 3, 4, 5, 10, 16, 17});
    if (count_of(dims) > 500) return false;
    Json settings{{"units", dims.back()}};
    if (dice_.chance(0.2)) settings["use_bias"] = false;
    maybe_activation(settings);
    append("dense", {from}, dims, settings);
    return true;
  }

  bool activation() {
    const NodeInfo from = pick();
    const std::string type = dice_.one_of<std::string>({"relu", "relu", "tanh", "sigmoid", "softmax"});
    if (from.dims.empty() && type == "softmax") return false;
    append(type, {from}, from.dims, Json::object());
    return true;
  }

  /// With two values a channel, normalised values are ±1 whatever they were: a gradient of rounding alone.
  bool normalize() {
    const NodeInfo from = pick();
    if (from.dims.empty()) return false;
    const std::int64_t values = batch_ * count_of(from.dims) / from.dims.back();
    if (values == 2) return false;
    Json settings = Json::object();
    if (dice_.chance(0.3)) settings["momentum"] = dice_.number(0.5, 0.95);
    if (dice_.chance(0.3)) settings["epsilon"] = dice_.number(0.01, 0.1);
    if (dice_.chance(0.15)) settings["scale"] = false;
    if (dice_.chance(0.15)) settings["center"] = false;
    append("batch_normalization", {from}, from.dims, settings);
    return true;
  }

  bool dropout() {
    const NodeInfo from = pick();
    append("dropout", {from}, from.dims, {{"rate", dice_.one_of<double>({0.0, 0.1, 0.25, 0.5})}});
    return true;
  }

  bool flatten() {
    const NodeInfo from = pick();
    append("flatten", {from}, {count_of(from.dims)}, Json::object());
    return true;
  }

  bool reshape() {
    const NodeInfo from = pick();
    Dims dims;
    std::int64_t left = count_of(from.dims);
    for (std::int64_t rank = dice_.from_to(1, 3); rank > 1; --rank) {
      std::vector<std::int64_t> divisors;
      for (std::int64_t size = 1; size <= left; ++size)
        if (left % size == 0) divisors.push_back(size);
      dims.push_back(dice_.one_of(divisors));
      left /= dims.back();
    }
    dims.push_back(left);
    Dims target = dims;
    if (dice_.chance(0.3)) target[static_cast<std::size_t>(dice_.next() % target.size())] = -1;
    append("reshape", {from}, dims, {{"target_shape", target}});
    return true;
  }

  bool rescaling() {
    const NodeInfo from = pick();
    Json settings{{"scale", dice_.one_of<double>({0.25, -0.5, 1.5, 0.7, -1.1})}};
    if (dice_.chance(0.5)) settings["offset"] = dice_.number(-0.5, 0.5);
    append("rescaling", {from}, from.dims, settings);
    return true;
  }

  bool add() {
    const NodeInfo first = pick();
    const std::vector<NodeInfo> others = all([&](const NodeInfo& node) { return node.dims == first.dims; });
    if (others.size() < 2 && !dice_.chance(0.1)) return false;
    std::vector<NodeInfo> from{first};  // the same node twice is allowed too
    for (std::int64_t count = dice_.from_to(1, 2); count > 0; --count) from.push_back(dice_.one_of(others));
    append("add", from, first.dims, Json::object());
    return true;
  }

  /// A branch of equal shape and the sum with what it came from.
  bool residual() {
    const NodeInfo from = pick();
    if (from.dims.empty()) return false;
    Json settings = Json::object();
    maybe_activation(settings);
    if (is_image(from) && dice_.chance(0.7)) {
      settings.update(Json{{"filters", from.dims[2]}, {"kernel_size", dice_.from_to(1, 3)}, {"padding", "same"}});
      append("conv2d", {from}, from.dims, settings);
    } else {
      settings["units"] = from.dims.back();
      append("dense", {from}, from.dims, settings);
    }
    std::vector<NodeInfo> both{from, nodes_.back()};
    if (dice_.chance(0.5)) std::swap(both[0], both[1]);
    append("add", both, from.dims, Json::object());
    return true;
  }

  bool concatenate() {
    const NodeInfo first = pick();
    if (first.dims.empty()) return false;
    const auto axis = static_cast<std::size_t>(dice_.from_to(0, static_cast<std::int64_t>(first.dims.size()) - 1));
    const std::vector<NodeInfo> others = all([&](const NodeInfo& node) {
      if (node.dims.size() != first.dims.size()) return false;
      Dims dims = node.dims;
      dims[axis] = first.dims[axis];
      return dims == first.dims;
    });
    std::vector<NodeInfo> from{first};
    Dims dims = first.dims;
    for (std::int64_t count = dice_.from_to(1, 2); count > 0; --count) {
      from.push_back(dice_.one_of(others));
      dims[axis] += from.back().dims[axis];
    }
    if (count_of(dims) > 700) return false;
    if (dice_.chance(0.5)) std::reverse(from.begin(), from.end());
    append("concatenate", from, dims, {{"axis", static_cast<int>(axis) - static_cast<int>(dims.size())}});
    return true;
  }

  /// A second use of a layer's parameters on another node of the same shape.
  bool shared() {
    std::vector<Json> owners;
    for (const Json& layer : layers_) {
      const std::string type = layer["type"];
      if ((type == "dense" || type == "conv2d" || type == "batch_normalization") && !layer.contains("share"))
        owners.push_back(layer);
    }
    if (owners.empty()) return false;
    Json owner = dice_.one_of(owners);
    const std::string name = owner["name"], read = owner["from"];
    const auto named = [&](const std::string& wanted) {
      return *std::find_if(nodes_.begin(), nodes_.end(), [&](const NodeInfo& node) { return node.name == wanted; });
    };
    const NodeInfo before = named(read), after = named(name);
    const std::vector<NodeInfo> same = all([&](const NodeInfo& node) { return node.dims == before.dims; });
    for (const char* key : {"name", "type", "from", "trainable", "training", "stop_gradient", "activation"})
      if (std::string(key) != "type") owner.erase(key);
    const std::string type = owner["type"];
    owner.erase("type");
    owner["share"] = name;
    if (type != "batch_normalization") maybe_activation(owner);
    append(type, {dice_.one_of(same)}, after.dims, owner);
    layers_.back().erase("trainable");
    return true;
  }

  // --- Terms and metrics

  std::string last_layer() const { return layers_.back()["name"]; }

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
      const bool fits = !between || node.made_by == "sigmoid" || node.made_by == "softmax";
      const bool same = node.name == at.name || node.first == at.name || at.first == node.name;  // could cancel exactly
      return fits && !same && !node.input && node.dims == at.dims;
    });
    if (what < 0.35 && !others.empty()) return {{"node", dice_.one_of(others).name}};
    if (what < 0.55) return {{"constant", between ? dice_.number(0, 1) : dice_.number(-0.5, 0.5)}};
    if (what < 0.65) return {{"input", add_input("classes2", at.dims, "i32")}};
    if (what < 0.75 && !at.dims.empty() && at.dims.back() <= 17) return class_target(at, true);
    return {{"input", add_input("target", at.dims)}};
  }

  Json loss_at(const NodeInfo& at) {
    const double what = dice_.uniform();
    const bool classes = !at.dims.empty() && at.dims.back() >= 2 && at.dims.back() <= 17;
    Json term;
    if (what < (classes ? (at.made_by == "softmax" ? 0.6 : 0.15) : 0)) {
      const bool sparse = dice_.chance(0.4), constant = dice_.chance(0.15);
      term = {{"type", sparse ? "sparse_categorical_crossentropy" : "categorical_crossentropy"}, {"at", at.name}};
      if (constant)
        term["target"] = {{"constant", sparse ? static_cast<double>(at.dims.back() - 1) : 0.25}};
      else if (!sparse && dice_.chance(0.3))
        term["target"] = {{"input", add_input("target", at.dims)}};
      else
        term["target"] = class_target(at, !sparse);
      if (!sparse && dice_.chance(0.2)) term["label_smoothing"] = 0.1;
      say_from_logits(term, at, "softmax");
    } else if (what < 0.35 || (at.made_by == "sigmoid" && what < 0.7)) {
      term = {{"type", "binary_crossentropy"}, {"at", at.name}, {"target", entries_target(at, true)}};
      say_from_logits(term, at, "sigmoid");
    } else if (what < 0.45) {
      term = {{"type", "value"}, {"at", at.name}};
    } else {
      term = {{"type", what < 0.75 ? "mean_squared_error" : "mean_absolute_error"}, {"at", at.name}};
      term["target"] = entries_target(at, false);
    }
    return term;
  }

  void say_from_logits(Json& term, const NodeInfo& at, const std::string& behind) {
    if (at.made_by != behind)
      term["from_logits"] = true;
    else if (dice_.chance(0.2))
      term["from_logits"] = false;
  }

  std::string any_layer() { return dice_.one_of(std::vector<Json>(layers_.begin(), layers_.end()))["name"]; }

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
      if (dice_.chance(0.7)) term["weight"] = dice_.number(0.1, 3);
      if (!sure && dice_.chance(0.15)) term["weight"] = 0;
      if (dice_.chance(0.25)) term["reduction"] = dice_.one_of<std::string>({"sum", "batch_mean"});
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
    const bool classes = !at.dims.empty() && at.dims.back() >= 2 && at.dims.back() <= 17;
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
    for (std::int64_t count = dice_.from_to(0, 3); count > 0; --count)
      metrics_["metric_" + std::to_string(++made_)] = metric_at(dice_.one_of(nodes_));
  }

  bool is_new(const NodeInfo& node, std::size_t trained_layers) const {
    for (std::size_t i = trained_layers; i < layers_.size(); ++i)
      if (layers_[i]["name"] == layer_of(node.name)) return true;
    return false;
  }

  Dice dice_;
  std::uint64_t seed_;
  std::int64_t batch_ = 1;
  int made_ = 0;
  std::vector<NodeInfo> nodes_;
  std::string kept_;
  Json inputs_ = Json::object(), layers_ = Json::array(), terms_ = Json::object(), exclude_ = Json::array();
  Json crowd_, crowd_terms_ = Json::object(), crowd_exclude_, metrics_ = Json::object(), optimizer_;
};

inline RandomModel random_model(std::uint64_t seed) { return ModelMaker(seed).make(); }

}  // namespace weir
