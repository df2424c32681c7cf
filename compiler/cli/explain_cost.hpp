// What a loss term costs: the training step with it against the step that is compiled without it.
#pragma once

#include <string>
#include <vector>

#include "compiler/cli/commands.hpp"
#include "compiler/cli/model.hpp"
#include "compiler/cli/text.hpp"
#include "compiler/explain.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir::cli {

struct StepCost {
  Cost cost;  ///< of one training step with a full batch
  std::uint64_t arena_bytes = 0;
  std::vector<std::string> trained;  ///< parameters
};

struct TermCost {
  std::string term;
  StepCost with, without;  ///< without: all zero where nothing is left to train
};

/// Of each term that --term and --without leave, excluded ones apart; empty where the model does not train. Compiles
/// once a term.
std::vector<TermCost> term_costs(const Model& model, const ExplainOptions& options, const Explanation& explanation);

/// "costs": {<term>: {"flops", "bytes"}}, and with `without` the whole difference.
void add_costs(Json& json, const std::vector<TermCost>& costs, const std::string& without);
std::string costs_text(const std::vector<TermCost>& costs, const Explanation& shown, const std::string& without);

}  // namespace weir::cli
