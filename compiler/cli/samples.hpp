// The user's data: which file stands for which input of a set, opened and checked before anything runs. Only inputs
// that the plan executes are opened.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/cli/model.hpp"
#include "runtime/data/dataset.hpp"
#include "runtime/plan.hpp"

namespace weir::cli {

/// Whether the specification, or every one of the `needed` inputs by --input, gives the set ("train", "validation",
/// "test"); validation_split gives "validation".
bool has_set(const Model& model, const DataOptions& options, const std::string& set,
             const std::vector<InputBinding>& needed);

/// Adds what another program reads. Each knows who reads it by the places of masks in its own list; here by those in
/// `inputs`.
void add_inputs(std::vector<InputBinding>& inputs, const std::vector<InputBinding>& more);

/// Opens the set: paths of the specification relative to --data or the model's folder, --input over them. Classes of
/// i32 inputs are checked over the whole set, where a reader looks at them. train without the part that
/// validation_split takes. Throws Error: invalid_data for data that is absent or wrong (it names input, file and
/// sample), io_error for a file that cannot be read, invalid_argument for an --input that is no input of the model.
Dataset open_set(const Model& model, const DataOptions& options, const std::string& set,
                 const std::vector<InputBinding>& needed, const Console& console);

struct TrainingSets {
  Dataset train;
  std::optional<Dataset> validation;
};
/// train for the inputs `trained`, and the validation set, where there is one, for `evaluated` (none: no validation).
/// --input binds the train set; validation_split splits what it gave.
TrainingSets open_training_sets(const Model& model, const DataOptions& options,
                                const std::vector<InputBinding>& trained, const std::vector<InputBinding>& evaluated,
                                const Console& console);

}  // namespace weir::cli
