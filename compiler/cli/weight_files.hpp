// Weights as the user gives them: one or several safetensors files, merged.
#pragma once

#include <map>
#include <string>

#include "compiler/cli/commands.hpp"
#include "runtime/session.hpp"

namespace weir::cli {

/// Throws Error(invalid_data) where two files give the same tensor, io_error, and what read_safetensors throws.
std::map<std::string, Tensor> read_weights(const std::vector<std::string>& files);

/// Loads them into the session. Parameters that kept their initial value under --partial are listed on console.err.
void load_weights(Session& session, const WeightOptions& options, const Console& console);

/// A notice on console.err where no weights are given: the numbers that follow are those of initial values.
void tell_untrained(const WeightOptions& options, const Console& console);

}  // namespace weir::cli
