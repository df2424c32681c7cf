#include "compiler/diagnostic_codes.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace weir {
namespace {

constexpr DiagnosticCode codes[] = {
    {"E0101", "not valid JSON",
     "A specification is JSON, with // and /* */ comments. The place is where reading stopped; the mistake is there or "
     "just before it. "
     "Frequent ones are a comma before a closing bracket, a missing comma between two entries, a string in single "
     "quotes, and NaN or "
     "Infinity, which JSON does not have. Only this mistake is shown, because nothing behind it can be read."},
    {"E0102", "not a text file",
     "The file holds bytes that are no UTF-8, a control character, or starts with a byte order mark. Save it as UTF-8 "
     "without a byte order "
     "mark. In a string, a control character is written as an escape such as \\n or \\u0007."},
    {"E0103", "a key is there twice",
     "An object has the same key twice, and JSON readers disagree on which one counts. The first one was read. Keep "
     "one of them."},
    {"E0104", "a limit is exceeded",
     "The file asks for more than weir reads: 16 MiB of text, 64 levels of nesting, 500,000 values, 100,000 keys in an "
     "object, 64 KiB in a "
     "string, 255 bytes in a name, 10,000 layers, 1,024 nodes read by one layer, 100,000 by all, 1,024 loss terms, 6 "
     "axes besides the "
     "batch. The limits keep a broken or hostile file from taking the machine."},
    {"E0105", "a number that cannot be held",
     "An integer must fit 64 bits, and a real number the range of a 64-bit float. Nothing is rounded to infinity "
     "silently. A large real "
     "number is written with an exponent, such as 1e20."},
    {"E0106", "a flag changes something that is not there",
     "--set names a value by its path, such as --set layers.conv_1.filters=64 or --set train.epochs=3: keys are "
     "separated by dots, layers "
     "are named by their name. Everything but the last step must be in the file already. --exclude needs a loss "
     "section."},
    {"E0201", "an unknown key",
     "No object of a specification ignores a key that it does not know, because a setting with a slip in its name "
     "would then silently have "
     "no effect. The help line has the nearest key or all of them. $comment is allowed everywhere, and keys that start "
     "with x- are free for "
     "tools."},
    {"E0202", "a key is missing",
     "The object cannot do without this key, and it has no default. The place is the object that lacks it."},
    {"E0203", "a value of the wrong kind",
     "A string stands where a number belongs, an object where a list belongs, or the like. Nothing is converted: \"3\" "
     "is no number, and 3.0 "
     "is no integer."},
    {"E0204", "a value out of range",
     "The value is of the right kind, but outside of what makes sense or can be held: a size below 1, a rate above 1, "
     "an empty list, a "
     "number beyond a 32-bit float. Axes are negative, counted from the end, because the batch axis is implied and has "
     "no number."},
    {"E0205", "an unknown word",
     "The value is one of a few words, and this is none of them. Words are spelled as in Keras, in one way only."},
    {"E0206", "not a name",
     "Names of inputs, layers, loss terms and metrics start with a letter or an underscore; then letters, digits, "
     "underscores and hyphens "
     "may follow. They do not start with x-, which is kept for tools. Names appear in reports and in weight files, as "
     "conv_1.kernel."},
    {"E0207", "a name is used twice",
     "Inputs, layers and loss terms share one space of names, so that a name always means one thing in \"from\", "
     "\"at\" and \"exclude\". "
     "Metrics have a space of their own. A list of names names each one once."},
    {"E0208", "a reserved name",
     "Reports use the word themselves: \"total\" for the sum of the loss terms, and for metrics also \"loss\" and "
     "\"contribution\". Choose "
     "another name."},
    {"E0209", "not a weir/1 file",
     "The file must say \"format\": \"weir/1\", so that a later format is never read with today's rules."},
    {"E0210", "not supported yet",
     "The word belongs to the format or to Keras, and weir knows it, but does not do it yet. It is refused instead of "
     "ignored, because a "
     "network that trains without it would be another network. Leave it out for now."},
    {"E0211", "a key that is never allowed here",
     "The key exists elsewhere, but here it could only mislead: a data_format or dtype on a layer (images are always "
     "height, width, "
     "channels; layers compute in f32), or a weight on a metric, which never trains anything."},
    {"E0212", "an unknown type",
     "No op has this name. Ops are named in snake case after Keras' identifiers; docs/ops.md lists them."},
    {"E0213", "an op in the wrong place",
     "The op exists, but plays another role: a layer stands where a loss belongs, or a metric in the loss section. "
     "Losses may also be "
     "metrics, nothing else is exchangeable."},
    {"E0301", "an unknown node",
     "A node is an input, a layer's output, or a port of it. The name does not exist in the file; the help line has "
     "the nearest one. "
     "Names of loss terms are no nodes."},
    {"E0302", "a port that the layer does not have",
     "conv_1:linear is the value of layer conv_1 before its activation, so the port exists only where the layer has "
     "the key \"activation\". "
     "Without one, the layer's name is that value. A number, as in split:1, is for layers with several outputs."},
    {"E0303", "layers wait for each other",
     "Following \"from\" leads in a circle, so none of these layers can be computed first. The message has the circle, "
     "in the direction in "
     "which values would flow. A layer without \"from\" reads the entry before it."},
    {"E0304", "unclear what the first layer reads",
     "The first layer reads the only f32 input where it has no \"from\". Here there are several, or none, so it must "
     "be said."},
    {"E0305", "\"from\" has the wrong form",
     "Most layers read one node, so \"from\" is its name. Layers such as add and concatenate read a list. Layers whose "
     "inputs play different "
     "roles take an object that names each role, because a list would make their order matter silently."},
    {"E0311", "shapes that do not fit a layer",
     "A layer got an input whose shape or type it cannot take. Shapes are for one sample, the batch is implied: [28, "
     "28, 1] is an image of "
     "height 28, width 28 and one channel. The note shows the shapes on the way from the input to this layer."},
    {"E0312", "shapes that do not fit a loss or a metric",
     "Prediction and target must have the same shape after one_hot; nothing is broadcast, because a loss between [B] "
     "and [B, 1] would "
     "silently compare every sample with every other one. For class numbers in an i32 input, \"one_hot\" appends the "
     "class axis."},
    {"E0313", "shared parameters that do not fit",
     "With \"share\" a layer owns no parameters and uses those of another one, so both must need parameters of the "
     "same shapes. For dense layers that means the same number of inputs and of units."},
    {"E0401", "nothing to train",
     "Every loss term is excluded or has weight 0, or there is none. Training would change no parameter. Keep one term "
     "with a weight "
     "above 0, or use evaluate or predict, which need none."},
    {"E0402", "parameters that no loss trains",
     "These parameters have no way to any term that is kept, so they would stay at their initial values; the "
     "specification says "
     "\"unreached\": \"error\". weir explain shows which term trains which parameter, and why not."},
    {"E0403", "no kept term reaches a parameter that learns",
     "Terms are kept, but no gradient of theirs gets to a parameter: layers are frozen, a cut (stop_at, stop_gradient) "
     "or "
     "skip and only stand in between, or no layer with parameters is before the term's node. A training step would "
     "change nothing. The notes say for each term what is in the way. evaluate and predict need nothing to train."},
    {"E0405", "an unknown name in \"exclude\"",
     "An entry of \"exclude\" (or --exclude) is a node, which leaves out every loss term attached to it or to a port "
     "of it, or one loss term by "
     "its name. This name is neither."},
    {"E0411", "an unclear target",
     "The target of a loss is exactly one of {\"input\": NAME}, {\"constant\": NUMBER} and {\"node\": LAYER}. Losses "
     "and metrics that compare "
     "with nothing, such as value, take no target."},
    {"E0412", "an input where a layer belongs, or the other way round",
     "A target under \"input\" is data that the host feeds, one under \"node\" a value that the network computes, held "
     "constant. They are "
     "told apart on purpose: gradients and data requirements differ."},
    {"E0413", "\"one_hot\" does not fit",
     "\"one_hot\": C turns class numbers from an i32 input into rows of C entries. It needs an i32 input, and a loss "
     "that compares with "
     "rows; the sparse losses and metrics read class numbers as they are."},
    {"E0414", "a target of the wrong type",
     "The sparse losses and metrics compare with class numbers, which come from an input with \"dtype\": \"i32\". "
     "Numbers in f32 are never "
     "read as classes."},
    {"E0415", "logits or probabilities",
     "A crossentropy must know whether its node holds logits or probabilities. At a node that is directly a softmax "
     "(binary: a sigmoid) over "
     "the loss axis, the logits behind it are used, and \"from_logits\" is left out. Anywhere else say true for logits "
     "or false for "
     "probabilities; it is never guessed. Computing with the wrong one trains, but badly."},
    {"E0416", "weights that a loss does not take",
     "\"sample_weight\" and \"mask\" are inputs that weigh samples or entries of the unreduced loss, "
     "\"class_weight\" and \"ignore_class\" speak of the classes of the target, and the reduction "
     "mean_with_sample_weight divides by the sum of sample weights, so it needs some. A constant target has no "
     "classes to tell apart."},
    {"E0421", "skip and only at once",
     "\"skip\" lists layers whose parameters a term leaves alone, \"only\" the ones that it trains and no others. One "
     "of "
     "them says it all; both together would contradict each other sooner or later."},
    {"E0422", "unclear whose parameters are shared",
     "\"share\" names the layer that owns the parameters. It has the same type, owns them itself, and everything about "
     "the parameters (trainable, initializers) is written there, once."},
    {"E0423", "a schedule that does not hold together",
     "A piecewise schedule has boundaries that ascend and one value more than boundaries: values[i] holds while at "
     "most "
     "boundaries[i] updates (or epochs) are done, the last value after that. An exponential one multiplies by the same "
     "factor in every step, so it can neither start at 0 nor reach it."},
    {"E0424", "no gradient can flow into this target",
     "\"gradient\": true lets the node under \"node\" learn from the term as well. An input and a constant cannot "
     "learn. Losses whose target is a label, such as the hinges, have no derivative by it; the message lists those "
     "that "
     "have one."},
    {"E0501", "a memory budget that is too small",
     "--memory-budget is what a session may take for tensors: parameters, statistics and optimizer state, and the "
     "arena, "
     "which holds everything else: inputs, activations, gradients, copies of weights in other layouts, scratch. "
     "A training step that needs more computes some values again in its backward part instead of keeping them, those "
     "that "
     "cost least first; no bit of the training differs. Here everything that helps was tried, and the program still "
     "needs more. A smaller batch size makes the arena smaller; parameters and optimizer state stay as large as they "
     "are. weir show SPEC --memory says what each size costs in time, and what lives when the arena is fullest."},
    {"E0601", "data for an unknown input", "Each entry of a data set is named like the input that it feeds."},
    {"E0602", "random numbers of the wrong kind",
     "{\"random\": N} draws numbers from 0 to 1 for an f32 input. An i32 input needs \"classes\": C beside it, for "
     "integers from 0 to C - 1."},
    {"E0603", "unclear validation data",
     "\"validation_split\" takes the last part of the training set, so it needs one and excludes a \"validation\" set "
     "of its own."},
    {"W0301", "an input that nothing reads",
     "No layer, target or metric uses this input. It needs no data. It is often left over from a change; otherwise a "
     "\"from\" or a target is "
     "missing."},
    {"W0302", "a layer that reads probabilities by its place alone",
     "A layer without \"from\" reads the layer before it. Here that one ends in the probabilities that a loss term "
     "measures, which is usually the end of a branch. Say with \"from\" what the layer reads; naming the same node "
     "accepts it."},
    {"W0401", "\"exclude\" leaves nothing out",
     "The node exists, but no loss term is attached to it, so excluding it changes nothing. Only the node a term "
     "stands at counts, not its "
     "target."},
    {"W0402", "parameters that no loss trains",
     "These parameters have no way to any term that is kept: they keep their values and get no gradient, no optimizer "
     "state and no decay. "
     "weir explain shows which term trains which parameter, and why not. \"unreached\": \"allow\" in loss accepts it, "
     "\"error\" refuses it."},
    {"W0403", "a loss term that trains nothing",
     "No trainable parameter stands behind the term's node, or a cut keeps its gradient from all of them. Its value "
     "still counts in the total. A term that should only be watched has \"weight\": 0."},
    {"W0404", "an entry of skip or only without effect",
     "The layer owns no parameters, is frozen, or is not before the term's node, so that the term would not train it "
     "anyway. Layers that share parameters are named by their owner."},
    {"W0405", "a frozen layer with random values",
     "A frozen layer keeps its first values for ever. Random ones are rarely what is meant: load trained values with "
     "--weights, or leave \"trainable\" out."},
    {"W0406", "a name that is listed twice",
     "\"exclude\", \"stop_at\", \"skip\" and \"only\" are sets: a second mention changes nothing. Perhaps another name "
     "was "
     "meant."},
    {"W0407", "\"stop_at\" at an input",
     "Nothing behind an input learns, so every gradient ends there anyway. To keep a term from a layer, name that "
     "layer "
     "or the node before it."},
    {"W0408", "weights that are far apart",
     "The largest weight of a kept term is more than 10,000 times the smallest. In f32, the smaller contribution then "
     "hardly moves a shared parameter. The weight multiplies the mean of the term, not its sum."},
    {"W0409", "a term whose best answer is a constant",
     "The term compares a node with a constant, and no other kept term trains the parameters that it reaches. They are "
     "driven to make the node the same for every sample, so that nothing of the input is left in it. This is also what "
     "remains where the term with the real target is excluded."},
    {"W0410", "a constant that this loss never reaches",
     "A divergence compares a predicted distribution with a target one. Against the same constant t at every entry it "
     "is "
     "t·log(t / p) summed over entries, which falls with every p that grows: units are driven to 1, whatever the "
     "constant. "
     "Only entries that add up to 1, as behind a softmax, pull each other back. To hold units near a value, "
     "kl_sparsity "
     "counts what is above it too."},
    {"W0411", "a weight without effect",
     "Adam divides each gradient by the root of its mean square, so a factor on the whole loss cancels, but for "
     "epsilon. "
     "With a single kept term and no regularizer, its weight is such a factor: it changes the total that is reported, "
     "not "
     "the training. Weights matter again beside another term, and with sgd. The size of steps is the learning_rate's."},
    {"W0424", "a target that was to learn and does not",
     "\"gradient\": true lets a term's gradient flow into the node that it compares with, but no parameter behind that "
     "node hears the term: its layers are frozen or have none, or stop_at, skip, only or a stop_gradient is in the "
     "way."},
};

}  // namespace

std::span<const DiagnosticCode> diagnostic_codes() { return codes; }

const DiagnosticCode* find_diagnostic_code(std::string_view code) {
  std::string wanted(code);
  if (!wanted.empty() && wanted[0] >= 'a' && wanted[0] <= 'z') wanted[0] = static_cast<char>(wanted[0] - 'a' + 'A');
  const auto found = std::find_if(std::begin(codes), std::end(codes),
                                  [&](const DiagnosticCode& known) { return known.code == wanted; });
  return found == std::end(codes) ? nullptr : &*found;
}

}  // namespace weir
