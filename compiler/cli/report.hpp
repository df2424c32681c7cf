// Values of steps and epochs as JSON lines and as tables for people.
#pragma once

#include <string>

#include "compiler/cli/text.hpp"
#include "compiler/spec/spec.hpp"
#include "runtime/trainer.hpp"

namespace weir::cli {

/// {"event": "step", "epoch", "step", "learning_rate", "loss": {"total", <term>…}, "weight": {<term>…}}
Json step_json(const StepEvent& event);
/// {"event": "epoch", "epoch", "train", "validation", "seconds", "samples_per_second"}; no "validation" where there is
/// no set.
Json epoch_json(const EpochEvent& event);
/// {"loss": {"total", <term>…}, "contribution": {<term>…}, <metric>…}
Json values_json(const EpochValues& values);

/// "total 0.4241 = 0.1 × intermediate 0.0301 + final 0.4211"; a watched term stands behind "watched".
std::string sum_text(double total, std::span<const TermValue> terms);
/// One line for each term that had no valid entry in some batch; empty where there is none.
std::string empty_text(const EpochValues& values);
/// "total 0.4241 (intermediate 0.0301, final 0.4211), accuracy 0.8512"
std::string values_text(const EpochValues& values);

/// The ledger: a row a term with value, weight, contribution and share of the total, then the total, then the metrics;
/// terms of the specification that are left out are named.
std::string ledger_text(const EpochValues& values, const Spec& spec);

}  // namespace weir::cli
