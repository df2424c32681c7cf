// Random layers: each reads any node that fits, the latest often and others too, so that branches fan out and meet
// again. The seed decides everything, on every machine.
#pragma once

#include <algorithm>
#include <cstdint>
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

/// Inputs and layers as they stand in a specification, and the nodes that they make.
class LayerMaker {
 public:
  using Json = nlohmann::ordered_json;
  struct NodeInfo {
    std::string name;
    Dims dims;
    std::string made_by;      ///< the op whose result it directly is
    bool parameters = false;  ///< some layer behind it has some
    bool input = false;
    std::string first = "";  ///< what it reads first
  };

  explicit LayerMaker(std::uint64_t seed) : dice_(seed), batch_(dice_.one_of<std::int64_t>({1, 2, 3, 4, 5, 7})) {
    add_inputs();
  }

  /// Some layer that fits somewhere.
  void add_layer() {
    using Make = bool (LayerMaker::*)();
    static const std::vector<Make> makers{&LayerMaker::conv2d,      &LayerMaker::conv2d,      &LayerMaker::conv2d,
                                          &LayerMaker::pooling,     &LayerMaker::pooling,     &LayerMaker::dense,
                                          &LayerMaker::dense,       &LayerMaker::activation,  &LayerMaker::activation,
                                          &LayerMaker::normalize,   &LayerMaker::dropout,     &LayerMaker::flatten,
                                          &LayerMaker::reshape,     &LayerMaker::rescaling,   &LayerMaker::add,
                                          &LayerMaker::add,         &LayerMaker::residual,    &LayerMaker::residual,
                                          &LayerMaker::concatenate, &LayerMaker::concatenate, &LayerMaker::shared};
    while (!(this->*dice_.one_of(makers))()) {
    }
  }

 protected:
  static std::int64_t count_of(const Dims& dims) { return element_count(dims); }
  static bool is_image(const NodeInfo& node) { return node.dims.size() == 3; }

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

  std::string add_input(const std::string& stem, const Dims& shape, const char* dtype = "f32") {
    const std::string name = stem + "_" + std::to_string(inputs_.size());
    inputs_[name] = Json{{"shape", shape}};
    if (std::string(dtype) != "f32") inputs_[name]["dtype"] = dtype;
    return name;
  }

  Dice dice_;
  std::int64_t batch_;
  int made_ = 0;  ///< numbers names
  std::vector<NodeInfo> nodes_;
  Json inputs_ = Json::object(), layers_ = Json::array();

 private:
  void add_inputs() {
    for (std::int64_t count = dice_.from_to(1, 2); count > 0; --count) {
      const std::int64_t channels = dice_.one_of<std::int64_t>({1, 2, 3, 4, 8});
      Dims shape{dice_.from_to(3, 8), dice_.from_to(3, 8), channels};
      if (dice_.chance(0.3)) shape = {dice_.from_to(1, 17)};
      const std::string name = add_input(shape.size() == 3 ? "image" : "row", shape);
      nodes_.push_back({name, shape, "input", false, true});
    }
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
    if (settings["scale"] == 0.25)  // the same number everywhere, and a gradient that differences can judge
      append("gradient_scale", {from}, from.dims, Json{{"scale", 1}});
    else
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
    const std::string type = owner["type"];
    for (const char* key : {"name", "type", "from", "trainable", "training", "stop_gradient", "activation"})
      owner.erase(key);
    owner["share"] = name;
    if (type != "batch_normalization") maybe_activation(owner);
    append(type, {dice_.one_of(same)}, after.dims, owner);
    layers_.back().erase("trainable");
    return true;
  }
};

}  // namespace weir
