// The keys of the format that belong to no op, as records: the reader checks against them and the schema is made from
// them.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/ir/op.hpp"

namespace weir {

struct KeyDef {
  AttributeDef value;  ///< name, doc, default; for a plain value also its type and range; `later`: not supported yet
  std::string_view holds = {};    ///< else the definition of the schema that describes what stands there
  std::string_view refused = {};  ///< the reason, where the key is never allowed here
  std::vector<std::string_view> later_words = {};  ///< words that are not supported yet, beside those of `value`
};

using Keys = std::span<const KeyDef>;

Keys root_keys();
Keys input_keys();
Keys layer_keys();  ///< beside the op's own
Keys loss_keys();
Keys term_keys();     ///< beside the op's own
Keys metric_keys();   ///< the same, with what only terms take refused
Keys weights_keys();  ///< sample_weight and mask of a term
Keys target_keys();
Keys curve_keys();      ///< of a schedule that goes from one value to another
Keys piecewise_keys();  ///< of one that jumps
Keys train_keys();
Keys optimizer_keys();  ///< beside the op's own
Keys data_keys();
Keys csv_keys();
Keys random_keys();

const KeyDef* find_key(Keys keys, std::string_view name);

/// A key of a layer for one of its parameters, or ("activity_regularizer") for its output.
struct RuleKey {
  std::string name;  ///< "kernel_regularizer"
  std::string of;    ///< "kernel"; "" for the output
  Role role;         ///< regularizer or constraint
};
/// Of a layer with this op: a regularizer and a constraint for each parameter in the record, and activity_regularizer.
std::vector<RuleKey> rule_keys_of(const OpDef& op);
/// What stands in the object of a regularizer or constraint, beside the op's own.
Keys rule_keys(Role role);

/// Keras' words for things that weir/1 has room for but does not do yet.
struct LaterWords {
  static const std::vector<std::string_view>& layers();
  static const std::vector<std::string_view>& activations();
  static const std::vector<std::string_view>& losses();
  static const std::vector<std::string_view>& metrics();
  static const std::vector<std::string_view>& optimizers();
};

/// What somebody means who writes a word of another framework or an abbreviation ("mae"), or "".
std::string_view usual_word(std::string_view word);

}  // namespace weir
