// Which loss term trains which parameter, and why not. A report over the graph before any lowering, so that it costs
// milliseconds and holds for every machine.
//
// A term reaches a parameter where differentiating that term alone gives it a gradient; whether it then trains it is
// the term's role. Where there is no gradient, the walk backwards from the term's node tells why: the parameter is not
// on the way, or the way is cut.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compiler/explain_route.hpp"
#include "compiler/ir/graph.hpp"
#include "compiler/profile_differences.hpp"
#include "compiler/spec/spec.hpp"

namespace weir {

enum class Influence {
  trained,   ///< the term's gradient reaches the parameter
  excluded,  ///< it would reach it, but the term is left out of the loss
  watched,   ///< it would reach it, but the term's weight is 0: computed, never trained
  blocked,   ///< the term's node depends on it, but no gradient passes on the way, or it is frozen
  unrelated  ///< the term's node does not depend on it
};
std::string_view to_string(Influence influence);

struct TermExplanation {
  std::string name, type, at;
  std::string target;  ///< "input label", "0", "node code", "" where there is none
  TermRole role = TermRole::trained;
  double weight = 1;                 ///< of a schedule: the first one
  std::string schedule;              ///< what the weight follows, as text; "" where it is constant
  std::string excluded_by;           ///< the entry of `exclude`
  bool learned_weight = false;       ///< no term of the file, but the part that trains a term's weight
  std::vector<std::string> reaches;  ///< parameters that its gradient reaches, or would reach were it kept
  std::vector<std::string> behind;   ///< parameters that its node depends on
  TermRoute route;                   ///< of an excluded or watched term: as if it were kept
  std::string route_text;            ///< the same as a sentence
};

struct MetricExplanation {
  std::string name, type, at;
  std::vector<std::string> behind;
};

struct ParameterExplanation {
  std::string name, layer;
  Dims dims;
  std::map<std::string, Influence> influences;  ///< by term
  std::map<std::string, std::string> reasons;   ///< by term: "trained", "stops at hidden (stop_at of this term)", …
  bool trained = false;
  std::string reason;  ///< a sentence's end: "trained by final", "trained by no loss: …"
};

struct Explanation {
  std::string model;
  bool normalized = false;                       ///< weights are divided by their sum in each step
  bool uncertain = false;                        ///< weights are learned
  std::vector<TermExplanation> terms;            ///< file order
  std::vector<MetricExplanation> metrics;        ///< file order
  std::vector<ParameterExplanation> parameters;  ///< in the graph's order; statistics are none
  std::vector<ProfileDifference> profiles;       ///< what other numerics profiles would compute otherwise
  Sweeps sweeps;                                 ///< of the terms that train
};

/// What a report is narrowed to; empty fields narrow nothing.
struct ExplainFilter {
  std::string term;   ///< this term's column alone
  std::string layer;  ///< the parameters of this layer alone
};
/// Of an explanation, the part that the filter asks for. Names are not checked here.
Explanation filtered(Explanation explanation, const ExplainFilter& filter);

/// Of a specification without errors; further ones (shapes) go into diagnostics, and then the result means nothing.
Explanation explain(const Spec& spec, Diagnostics& diagnostics);

/// Sentences a term, then the table of parameters × terms, then what nothing trains. For people.
std::string to_text(const Explanation& explanation);
/// One document: {"model", "terms": […], "metrics": […], "parameters": […]}.
std::string to_json(const Explanation& explanation);

}  // namespace weir
