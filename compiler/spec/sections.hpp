// The sections of a specification, each read from its element into its part of the Spec. parse_spec.cpp calls them in
// order.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "compiler/spec/names.hpp"

namespace weir {

/// What the readers of sections share.
struct Sections {
  Reading& reading;
  Spec& spec;
  Names names = {};
  std::set<std::string, std::less<>> read_inputs = {};     ///< inputs that something reads
  std::set<std::string, std::less<>> unclear_inputs = {};  ///< inputs whose dtype was not understood
  std::size_t patterns = 0;                                ///< how many were expanded

  std::optional<Located<std::string>> node(const std::string& subject, std::string_view key, const Element& element);
  /// Whether an input is there and certainly of that type.
  bool is_surely(const InputSpec& input, DType dtype) const;
};

void read_inputs(Sections& sections, const Element& inputs);
void read_layers(Sections& sections, const Element& layers);
void read_outputs(Sections& sections, const Element& outputs);
/// training: nothing left to train is an error.
void read_loss(Sections& sections, const Element& loss, bool training);
void read_train(Sections& sections, const Element& train);
void read_data(Sections& sections, const Element& data);

/// Regularizers and constraints of a layer whose op is understood.
void read_parameter_rules(Sections& sections, const ObjectReader& reader, LayerSpec& layer);

/// A loss term or (metric) an entry of `metrics`.
TermSpec read_term(Sections& sections, const Member& member, bool metric);

/// sample_weight and mask of a term, and whether class_weight, ignore_class and the reduction fit; behind its target.
void read_entry_weights(Sections& sections, const std::string& subject, const ObjectReader& reader, TermSpec& term);

/// stop_at, skip and only of a term.
void read_routing(Sections& sections, const std::string& subject, const ObjectReader& reader, TermSpec& term);
/// That `share` names an owner of the same type, and that who shares says nothing about parameters.
void check_shares(Sections& sections);

/// What a pattern may match, and how it is called where it matches nothing.
struct Candidates {
  std::vector<std::string> names;
  std::string_view what;
  std::string_view code;
};
/// The nodes; the ports "conv_1:linear" where the pattern has a colon.
Candidates node_candidates(const Sections& sections, std::string_view pattern);
/// Layers that own parameters.
Candidates owner_candidates(const Sections& sections);
/// Nodes and terms.
Candidates excludable(const Sections& sections, std::string_view pattern);
/// The candidates that the pattern matches, in their order; none is a mistake, which is reported.
std::vector<std::string> expand(Sections& sections, const std::string& subject, std::string_view key,
                                const Element& item, const Candidates& candidates);

/// The layers' operands, after all names are known: `from` or its default, in the op's order.
void connect_layers(Sections& sections, const Element& layers);
/// What `from` says, for an op; null: the op was not understood. layer: for messages.
std::vector<Located<std::string>> read_from(Sections& sections, const std::string& subject, const OpDef* op,
                                            const Element& from);
/// Reports each cycle once, by its names.
void check_cycles(Sections& sections);

}  // namespace weir
