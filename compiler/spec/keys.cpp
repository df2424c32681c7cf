#include "compiler/spec/keys.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace weir {
namespace {

using enum AttributeType;

constexpr std::int64_t most_integer = (std::int64_t{1} << 31) - 1;

KeyDef required(std::string_view name, std::string_view holds, std::string_view doc) {
  return {.value = {.name = name, .doc = doc}, .holds = holds};
}
KeyDef optional(std::string_view name, std::string_view holds, std::string_view doc) {
  return {.value = {.name = name, .doc = doc, .optional = true}, .holds = holds};
}
KeyDef later(std::string_view name, std::string_view doc) {
  return {.value = {.name = name, .doc = doc, .optional = true, .later = true}};
}
KeyDef refused(std::string_view name, std::string_view reason) {
  return {.value = {.name = name, .doc = reason, .optional = true}, .refused = reason};
}
KeyDef plain(AttributeDef value) { return {.value = std::move(value)}; }

KeyDef count(std::string_view name, std::int64_t standard, std::string_view doc) {
  return plain({.name = name, .type = integer, .doc = doc, .standard = standard, .least = 1, .most = most_integer});
}

std::vector<KeyDef> make_term_keys() {
  return {
      required("type", "loss_type", "the loss"),
      required("at", "node",
               "the node that the loss is attached to: an input, a layer, or a port such as conv_1:linear"),
      optional("target", "target", "what the node is compared with"),
      plain({.name = "weight",
             .type = number,
             .doc = "factor in the total; 0: watched, not trained; or a schedule",
             .standard = 1.0,
             .least = 0,
             .scheduled = true}),
      {.value = {.name = "reduction",
                 .type = word,
                 .doc = "mean over all entries, their sum, or the sum within a sample averaged over samples",
                 .standard = std::string("mean"),
                 .words = {"mean", "sum", "batch_mean", "mean_with_sample_weight"}}},
      plain({.name = "from_logits",
             .type = flag,
             .doc = "true: the node holds logits; false: probabilities; left out: the node is a "
                    "softmax or sigmoid, whose logits are used",
             .optional = true}),
      optional("sample_weight", "weights_input", "an input that weighs samples, or entries of the unreduced loss"),
      optional("mask", "weights_input", "an input of 0 and 1: samples or entries with 0 are left out and not read"),
      optional("stop_at", "nodes", "nodes where the gradient of this term ends"),
      optional("skip", "nodes", "layers whose parameters get nothing from this term"),
      optional("only", "some_nodes", "the only layers whose parameters this term trains"),
  };
}

std::vector<KeyDef> make_metric_keys() {
  constexpr std::string_view never_trains = "a metric is only watched; a loss term takes this key";
  std::vector<KeyDef> keys;
  for (const KeyDef& key : term_keys()) {
    const std::string_view name = key.value.name;
    const bool of_terms =
        name == "weight" || name == "reduction" || name == "stop_at" || name == "skip" || name == "only";
    keys.push_back(of_terms ? refused(name, never_trains) : key);
  }
  keys[0].holds = "metric_type";
  keys[0].value.doc = "the metric, or a loss";
  keys[1].value.doc = "the node that is watched";
  keys[2].holds = "metric_target";
  return keys;
}

}  // namespace

Keys root_keys() {
  static const std::vector<KeyDef> keys{
      required("format", "format", "always \"weir/1\""),
      optional("name", "stem", "default: the file's stem"),
      plain({.name = "numerics",
             .type = word,
             .doc = "whose formulas and defaults",
             .standard = std::string("keras"),
             .words = {"keras", "keras-probabilities", "pytorch"}}),
      required("inputs", "inputs", "what the host feeds, by name"),
      required("layers", "layers", "the network"),
      optional("outputs", "outputs", "what predict writes; default: every layer that nothing reads"),
      optional("loss", "loss", "what is minimised"),
      optional("train", "train", "how it is trained"),
      optional("data", "data", "files for the command line"),
      later("blocks", "named groups of layers"),
      later("supervise", "losses at many nodes"),
      later("distill", "a teacher's nodes as targets"),
  };
  return keys;
}

Keys input_keys() {
  static const std::vector<KeyDef> keys{
      required("shape", "shape", "sizes of one sample; images are height, width, channels; [] is one number"),
      plain({.name = "dtype",
             .type = word,
             .doc = "f32, or i32 for classes",
             .standard = std::string("f32"),
             .words = {"f32", "i32"}}),
  };
  return keys;
}

Keys layer_keys() {
  constexpr std::string_view layouts =
      "images are always height, width, channels; the layout in memory is the compiler's choice";
  constexpr std::string_view types = "layers compute in f32; only inputs have a dtype";
  static const std::vector<KeyDef> keys{
      required("name", "name", "unique over inputs, layers and loss terms"),
      required("type", "layer_type", "the op"),
      optional("from", "from", "the node or nodes it reads; default: the entry before"),
      plain({.name = "trainable", .type = flag, .doc = "false: its parameters are frozen", .standard = true}),
      plain({.name = "training", .type = flag, .doc = "false: it always computes as in evaluation", .standard = true}),
      optional("share", "node", "the layer whose parameters it uses; it owns none"),
      plain(
          {.name = "stop_gradient", .type = flag, .doc = "true: whoever reads it sees a constant", .standard = false}),
      refused("data_format", layouts),
      refused("dtype", types),
  };
  return keys;
}

Keys loss_keys() {
  static const std::vector<KeyDef> keys{
      required("terms", "terms", "the losses, by name"),
      optional("exclude", "exclude", "nodes or terms that are left out of the loss"),
      plain({.name = "unreached",
             .type = word,
             .doc = "what parameters are that no loss trains",
             .standard = std::string("warn"),
             .words = {"warn", "error", "allow"}}),
      {.value = {.name = "combine",
                 .type = word,
                 .doc = "sum: weights as they are; normalized: divided by their sum in each step; uncertainty: each "
                        "term learns a factor of its own",
                 .standard = std::string("sum"),
                 .words = {"sum", "normalized", "uncertainty"}},
       .later_words = {"gradnorm", "pcgrad"}},
      later("supervise", "losses at many nodes"),
      later("distill", "a teacher's nodes as targets"),
  };
  return keys;
}

Keys term_keys() {
  static const std::vector<KeyDef> keys = make_term_keys();
  return keys;
}

Keys metric_keys() {
  static const std::vector<KeyDef> keys = make_metric_keys();
  return keys;
}

Keys weights_keys() {
  static const std::vector<KeyDef> keys{required("input", "name", "an input that holds them")};
  return keys;
}

Keys target_keys() {
  static const std::vector<KeyDef> keys{
      optional("input", "name", "an input"),
      plain({.name = "constant", .type = number, .doc = "one number everywhere", .optional = true}),
      optional("node", "node", "a layer's output, held constant unless gradient is true"),
      plain({.name = "one_hot",
             .type = integer,
             .doc = "appends a class axis of this size to an i32 input",
             .optional = true,
             .least = 1,
             .most = most_integer}),
      plain({.name = "gradient",
             .type = flag,
             .doc = "true: the gradient flows into the target's node too",
             .optional = true}),
  };
  return keys;
}

namespace {

KeyDef per_key() {
  return plain({.name = "per",
                .type = word,
                .doc = "what is counted: updates or epochs that are done",
                .standard = std::string("step"),
                .words = {"step", "epoch"}});
}

}  // namespace

Keys curve_keys() {
  static const std::vector<KeyDef> keys{
      required("type", "curve", "the curve"),
      required("from", "number", "its first value"),
      required("to", "number", "its last value"),
      plain({.name = "length", .type = integer, .doc = "how long it takes", .least = 1, .most = most_integer}),
      plain({.name = "start",
             .type = integer,
             .doc = "how long the first value holds",
             .standard = std::int64_t{0},
             .least = 0,
             .most = most_integer}),
      per_key(),
  };
  return keys;
}

Keys piecewise_keys() {
  static const std::vector<KeyDef> keys{
      required("type", "curve", "the curve"),
      required("boundaries", "counts", "the value changes after so many"),
      required("values", "numbers", "one more than boundaries; values[i] up to boundaries[i]"),
      per_key(),
  };
  return keys;
}

Keys train_keys() {
  static const std::vector<KeyDef> keys{
      required("optimizer", "optimizer", "the update rule"),
      count("batch_size", 32, "samples in a step"),
      count("epochs", 1, "passes over the data"),
      plain({.name = "seed", .type = integer, .doc = "of all random numbers", .standard = std::int64_t{0}, .least = 0}),
      plain({.name = "shuffle", .type = flag, .doc = "a new order of the samples in each epoch", .standard = true}),
      plain({.name = "drop_remainder", .type = flag, .doc = "leave the last, shorter batch out", .standard = false}),
      optional("metrics", "metrics", "what is watched beside the losses, by name"),
      later("early_stopping", "stop when a monitored value no longer improves"),
      later("checkpoint", "keep the best parameters"),
      later("reduce_learning_rate", "lower the learning rate when a monitored value no longer improves"),
      later("parameters", "settings for groups of parameters"),
  };
  return keys;
}

Keys optimizer_keys() {
  static const std::vector<KeyDef> keys{
      required("type", "optimizer_type", "the update rule"),
      later("weight_decay", "decoupled weight decay"),
      later("clipnorm", "largest norm of one gradient"),
      later("clipvalue", "largest entry of a gradient"),
      later("global_clipnorm", "largest norm of all gradients together"),
      later("use_ema", "average the parameters"),
      later("ema_momentum", "of the average"),
      later("ema_overwrite_frequency", "of the average"),
      later("loss_scale_factor", "of the loss"),
      later("gradient_accumulation_steps", "batches in an update"),
      later("amsgrad", "the largest second moment"),
  };
  return keys;
}

Keys data_keys() {
  static const std::vector<KeyDef> keys{
      optional("train", "data_set", "what training reads"),
      optional("validation", "data_set", "what is evaluated after each epoch"),
      optional("test", "data_set", "what evaluate --on test reads"),
      plain({.name = "validation_split",
             .type = number,
             .doc = "this share of the training set, from its end, is the validation set",
             .optional = true,
             .least = 0,
             .most = 1,
             .exclusive_least = true,
             .exclusive_most = true}),
  };
  return keys;
}

Keys csv_keys() {
  static const std::vector<KeyDef> keys{
      required("file", "text", "a CSV file with a header"),
      optional("columns", "columns", "names of the columns, in the input's order"),
  };
  return keys;
}

Keys random_keys() {
  static const std::vector<KeyDef> keys{
      plain({.name = "random", .type = integer, .doc = "how many random samples", .least = 1, .most = most_integer}),
      plain({.name = "classes",
             .type = integer,
             .doc = "of an i32 input: numbers from 0 to one less",
             .optional = true,
             .least = 1,
             .most = most_integer}),
  };
  return keys;
}

const KeyDef* find_key(Keys keys, std::string_view name) {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const KeyDef& key) { return key.value.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

std::vector<RuleKey> rule_keys_of(const OpDef& op) {
  std::vector<RuleKey> keys;
  for (const OperandDef& operand : op.operands) {
    if (operand.kind != OperandKind::parameter) continue;
    const std::string of(operand.name);
    keys.push_back({of + "_regularizer", of, Role::regularizer});
    keys.push_back({of + "_constraint", of, Role::constraint});
  }
  keys.push_back({"activity_regularizer", "", Role::regularizer});
  return keys;
}

Keys rule_keys(Role role) {
  static const std::vector<KeyDef> regularizer{required("type", "regularizer_type", "the penalty")};
  static const std::vector<KeyDef> constraint{required("type", "constraint_type", "the constraint")};
  return role == Role::regularizer ? regularizer : constraint;
}

}  // namespace weir
