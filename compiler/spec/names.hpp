// What a name means: inputs, layers and loss terms share one space of names, and a node is an input, a layer or a port
// of a layer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compiler/spec/reading.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

class Names {
 public:
  enum class Kind { input, layer, term };
  struct Entry {
    Kind kind;
    std::size_t index;  ///< in the spec's list
    Place place;
  };

  /// Checks the name and notes it, even a bad one: those who refer to it make no second mistake.
  void declare(Reading& reading, const std::string& name, const Place& place, Kind kind, std::size_t index);
  /// An entry whose name cannot be read: from now on an unknown name may be that one's and is not reported.
  void miss() { complete_ = false; }
  bool complete() const { return complete_; }

  const Entry* find(std::string_view name) const;
  /// In the order in which they were declared.
  std::vector<std::string> all(std::initializer_list<Kind> kinds) const;
  /// For an unknown word: the nearest name of those kinds, or "what: " and all of them where they are few.
  std::string help(Reading& reading, std::string_view word, std::string_view what,
                   std::initializer_list<Kind> kinds) const;

 private:
  std::unordered_map<std::string, Entry> entries_;
  std::vector<std::string> order_;
  bool complete_ = true;
};

/// "input", "layer", "loss term" with its article
std::string_view text_of(Names::Kind kind);

/// The layer of a port, the node itself otherwise: "conv_1" of "conv_1:linear".
std::string_view base_of(std::string_view node);

/// Whether the layer has an activation, and so a port "linear"; also true where the activation was not understood.
bool has_activation(const LayerSpec& layer);

/// The node that a string names; nothing where there is none, which is reported. layers: filled.
std::optional<Located<std::string>> read_node(Reading& reading, const Names& names,
                                              const std::vector<LayerSpec>& layers, const std::string& subject,
                                              std::string_view key, const Element& element);

}  // namespace weir
