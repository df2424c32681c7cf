#include "compiler/cli/flags.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/commands.hpp"

namespace weir::cli {
namespace {

/// CLI11's own validators print the range of the type; this says what was found and what was expected.
template <class Number>
Number whole_number(const std::string& flag, const std::string& text, Number least) {
  Number value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc{} && end == text.data() + text.size() && value >= least) return value;
  throw CLI::ValidationError(fmt::format("{} {}: expected a whole number, {} or more", flag, text, least));
}

/// "24MB", "512KiB", "1.5GiB", "4096".
std::uint64_t byte_size(const std::string& flag, const std::string& text) {
  static constexpr std::pair<const char*, double> units[] = {{"", 1},
                                                             {"B", 1},
                                                             {"kB", 1e3},
                                                             {"KB", 1e3},
                                                             {"MB", 1e6},
                                                             {"GB", 1e9},
                                                             {"TB", 1e12},
                                                             {"KiB", 1024.0},
                                                             {"MiB", 1048576.0},
                                                             {"GiB", 1073741824.0},
                                                             {"TiB", 1099511627776.0}};
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& [name, factor] : units)
    if (failure == std::errc{} && unit == name && value * factor >= 1 && value * factor <= 1e18)
      return static_cast<std::uint64_t>(value * factor);
  throw CLI::ValidationError(fmt::format("{} {}: expected a size, such as 24MB, 512KiB or 1.5GiB", flag, text));
}

/// `path=value`, `NAME=FILE`.
std::pair<std::string, std::string> named_text(const std::string& flag, const std::string& text, const char* form) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos)
    throw CLI::ValidationError(fmt::format("{} {}: expected {}", flag, text, form));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t comma = text.find(',', begin);
    parts.push_back(text.substr(begin, comma - begin));
    if (comma == std::string::npos) return parts;
    begin = comma + 1;
  }
}

/// Registers the flags of one command; `Options` lives as long as the command does.
template <class Options>
class Flags {
 public:
  Flags(CLI::App& program, const char* name, const char* description, bool& json)
      : options_(std::make_shared<Options>()) {
    command_.app = program.add_subcommand(name, description);
    command_.app->allow_extras();
    command_.app->add_flag("--json", json, "the result as JSON");
  }

  Options& options() { return *options_; }

  /// word: what stands for the value in --help.
  CLI::Option* text(const char* flag, std::string& target, const char* word, const char* description) {
    return command_.app->add_option(flag, target, description)->type_name(word);
  }
  void choice(const char* flag, std::string& target, const std::vector<std::string>& words, const char* description) {
    text(flag, target, "WORD", description)->check([flag, words](const std::string& given) {
      const bool known = std::find(words.begin(), words.end(), given) != words.end();
      return known ? "" : fmt::format("{} {}: expected one of {}", flag, given, fmt::join(words, ", "));
    });
  }
  template <class Number, class Target>
  void number(const char* flag, Target& target, Number least, const char* description) {
    const auto take_one = [&target, flag, least](const std::string& given) {
      target = whole_number<Number>(flag, given, least);
    };
    command_.app->add_option_function<std::string>(flag, take_one, description)->type_name("N");
  }
  void size(const char* flag, std::uint64_t& target, const char* description) {
    const auto take_one = [&target, flag](const std::string& given) { target = byte_size(flag, given); };
    command_.app->add_option_function<std::string>(flag, take_one, description)->type_name("SIZE");
  }
  /// Given again for the next one, or separated by commas.
  void texts(const char* flag, std::vector<std::string>& target, const char* description) {
    each(flag, "NAME", description, [&target](const std::string& given) {
      for (std::string& part : split(given)) target.push_back(std::move(part));
    });
  }
  void pairs(const char* flag, NamedTexts& target, const char* form, const char* description) {
    each(flag, form, description,
         [&target, flag, form](const std::string& given) { target.push_back(named_text(flag, given, form)); });
  }
  void numbers(const char* flag, std::vector<std::int64_t>& target, const char* description) {
    each(flag, "N", description, [&target, flag](const std::string& given) {
      for (const std::string& part : split(given)) target.push_back(whole_number<std::int64_t>(flag, part, 1));
    });
  }
  void flag(const char* name, bool& target, const char* description) {
    command_.app->add_flag(name, target, description);
  }

  void require(CLI::Option* option) { command_.required.push_back(option); }

  void model(const char* word, ModelOptions& model) {
    require(text(word, model.file, "", "the specification, or a plan where PLAN stands"));
    number<int>("--threads", model.threads, 1, "how many threads to use; default: the usable CPUs");
  }
  void changes(ModelOptions& model) {
    texts("--exclude", model.exclude, "leave this node's (or this) loss term out; may be repeated");
    pairs("--set", model.set, "path=value", "change the specification: layers.conv_1.filters=64; may be repeated");
  }
  void memory_budget(ModelOptions& model) {
    size("--memory-budget", model.memory_budget,
         "the most that parameters, optimizer state and arena may take: 24MB; what does not fit is computed again");
  }
  void tuning(ModelOptions& model) {
    flag("--tune", model.tune, "time the ways there are to compute each step, and take the fastest");
  }
  void data(DataOptions& data) {
    text("--data", data.folder, "DIR", "the folder that data paths start from; default: the specification's");
    pairs("--input", data.inputs, "NAME=FILE", "this input's data; may be repeated");
  }
  void weights(WeightOptions& weights) {
    each("--weights", "FILE", "parameters to begin with (safetensors); may be repeated",
         [&weights](const std::string& file) { weights.files.push_back(file); });
    flag("--partial", weights.partial, "parameters missing from --weights keep their initial values");
  }

  Command take(int (*run)(const Options&, const Console&)) {
    command_.run = [options = options_, run](const Console& console) { return run(*options, console); };
    return std::move(command_);
  }

 private:
  void each(const char* flag, const char* word, const char* description,
            const std::function<void(const std::string&)>& take) {
    const auto take_all = [take](const std::vector<std::string>& all) { std::for_each(all.begin(), all.end(), take); };
    command_.app->add_option_function<std::vector<std::string>>(flag, take_all, description)
        ->type_name(word)
        ->allow_extra_args(false);
  }

  std::shared_ptr<Options> options_;
  Command command_;
};

Command check_command(CLI::App& program, bool& json) {
  Flags<CheckOptions> flags(program, "check", "Tell everything that is wrong with a specification; write nothing.",
                            json);
  flags.model("SPEC", flags.options().model);
  flags.changes(flags.options().model);
  return flags.take(run_check);
}

Command compile_command(CLI::App& program, bool& json) {
  Flags<CompileCommandOptions> flags(program, "compile", "Make a plan, which the runtime loads without the compiler.",
                                     json);
  auto& options = flags.options();
  flags.model("SPEC", options.model);
  flags.require(flags.text("-o,--output", options.output, "FILE", "the plan's file"));
  flags.changes(options.model);
  flags.tuning(options.model);
  flags.numbers("--batch-size", options.model.batch_sizes, "N[,N…]: a train program for each");
  flags.memory_budget(options.model);
  flags.texts("--tap", options.taps, "a node that the host reads; may be repeated");
  return flags.take(run_compile);
}

Command show_command(CLI::App& program, bool& json) {
  Flags<ShowOptions> flags(program, "show", "Show layers, losses, memory, the graph or the plan.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.changes(options.model);
  flags.numbers("--batch-size", options.model.batch_sizes, "N[,N…]: of the train programs");
  flags.memory_budget(options.model);
  flags.flag("--memory", options.memory, "what less memory costs in time, and what fills the arena step by step");
  flags.choice("--as", options.as, {"table", "json", "dot", "svg", "text"}, "table (default), json, dot, svg or text");
  flags.text("--dump-after", options.dump_after, "PASS", "the stage after this pass; \"all\": after each");
  return flags.take(run_show);
}

Command explain_command(CLI::App& program, bool& json) {
  Flags<ExplainOptions> flags(program, "explain",
                              "Which loss trains which parameter, and why not; or what a code means.", json);
  auto& options = flags.options();
  flags.model("SPEC|CODE", options.model);
  flags.changes(options.model);
  flags.text("--term", options.term, "NAME", "this loss term alone");
  flags.text("--layer", options.layer, "NAME", "the parameters of this layer alone");
  flags.text("--node", options.node, "NAME", "which terms read this node, and which send it a gradient");
  flags.text("--without", options.without, "NAME", "what leaving this loss term out changes: steps, cost, memory");
  flags.choice("--as", options.as, {"table", "svg"},
               "table (default), or svg: drawn, a colour for each term's gradient");
  return flags.take(run_explain);
}

Command train_command(CLI::App& program, bool& json) {
  Flags<TrainOptions> flags(program, "train", "Train, and keep the run in a folder.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.changes(options.model);
  flags.tuning(options.model);
  flags.data(options.data);
  flags.weights(options.weights);
  flags.number<std::int64_t>("--epochs", options.epochs, 1, "at most so many passes over the data");
  flags.number<std::int64_t>("--steps", options.steps, 1, "at most so many updates");
  flags.number<std::int64_t>("--batch-size", options.batch_size, 1, "samples in an update");
  flags.memory_budget(options.model);
  flags.number<std::uint64_t>("--seed", options.seed, 0, "of initial values, shuffling and dropout");
  flags.flag("--no-shuffle", options.no_shuffle, "take the samples in file order");
  flags.text("--out", options.out, "RUN", "the run's folder; default: NAME.run");
  flags.flag("--force", options.force, "overwrite the run in an existing folder");
  flags.number<std::int64_t>("--log-every", options.log_every, 1,
                             "a line in metrics.jsonl each so many updates; default 1");
  flags.flag(
      "--gradient-norms", options.gradient_norms,
      "norms and cosines of each term's gradient in metrics.jsonl; each logged step costs a forward and backward "
      "more a term, and a copy of the parameters");
  return flags.take(run_train);
}

Command evaluate_command(CLI::App& program, bool& json) {
  Flags<EvaluateOptions> flags(program, "evaluate", "Losses and metrics over a set.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.changes(options.model);
  flags.data(options.data);
  flags.weights(options.weights);
  flags.choice("--on", options.data.set, {"train", "validation", "test"}, "train, validation (default) or test");
  return flags.take(run_evaluate);
}

Command predict_command(CLI::App& program, bool& json) {
  Flags<PredictOptions> flags(program, "predict", "Values of nodes over a set, as .npy or .npz.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.require(flags.text("-o,--output", options.output, "FILE", "the file: .npy for one node, .npz for several"));
  flags.changes(options.model);
  flags.data(options.data);
  flags.weights(options.weights);
  flags.choice("--on", options.data.set, {"train", "validation", "test"}, "train, validation (default) or test");
  flags.texts("--at", options.at, "the node to read; may be repeated; default: the outputs");
  return flags.take(run_predict);
}

Command gradient_command(CLI::App& program, bool& json) {
  Flags<GradientOptions> flags(program, "gradient", "Gradients at a training step, as safetensors.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.require(flags.text("-o,--output", options.output, "FILE", "the file"));
  flags.changes(options.model);
  flags.data(options.data);
  flags.weights(options.weights);
  flags.text("--term", options.term, "NAME", "of this loss term alone, before its weight");
  flags.number<std::int64_t>("--batch", options.batch, 1, "the training step, in file order; default 1");
  return flags.take(run_gradient);
}

Command verify_command(CLI::App& program, bool& json) {
  Flags<VerifyCommandOptions> flags(
      program, "verify", "Compiled gradients against a double-precision reference and central differences.", json);
  auto& options = flags.options();
  flags.model("SPEC", options.model);
  flags.changes(options.model);
  flags.number<std::int64_t>("--batch-size", options.batch_size, 1, "rows of made-up data; default 4");
  flags.number<std::int64_t>("--samples", options.samples, 1, "entries a parameter to take differences at; default 20");
  flags.number<std::uint64_t>("--seed", options.seed, 0, "of data and parameters; default: the specification's");
  return flags.take(run_verify);
}

Command bench_command(CLI::App& program, bool& json) {
  Flags<BenchOptions> flags(program, "bench", "Time each step of a training program, on made-up data.", json);
  auto& options = flags.options();
  flags.model("SPEC|PLAN", options.model);
  flags.changes(options.model);
  flags.numbers("--batch-size", options.model.batch_sizes, "samples in an update");
  flags.number<std::int64_t>("--steps", options.steps, 1, "how many updates to time; default 200");
  flags.choice("--as", options.as, {"table", "svg"}, "table (default), or svg: drawn, each step as wide as it takes");
  flags.flag("--recalibrate", options.recalibrate, "measure anew what the machine can do at most, and keep it");
  return flags.take(run_bench);
}

void add_weights_commands(CLI::App& program, bool& json, std::vector<Command>& commands) {
  CLI::App* group = program.add_subcommand("weights", "Parameters as safetensors: init, list, diff.");
  group->allow_extras();
  Flags<WeightsInitOptions> init(*group, "init", "Write initial values.", json);
  init.model("SPEC|PLAN", init.options().model);
  init.require(init.text("-o,--output", init.options().output, "FILE", "the file"));
  init.changes(init.options().model);
  init.number<std::uint64_t>("--seed", init.options().seed, 0, "default: the specification's");
  commands.push_back(init.take(run_weights_init));
  Flags<WeightsListOptions> list(*group, "list", "What is in a file.", json);
  list.require(list.text("FILE", list.options().file, "", "safetensors"));
  commands.push_back(list.take(run_weights_list));
  Flags<WeightsDiffOptions> diff(*group, "diff", "What differs between two files.", json);
  diff.require(diff.text("BEFORE", diff.options().before, "", "safetensors"));
  diff.require(diff.text("AFTER", diff.options().after, "", "safetensors"));
  commands.push_back(diff.take(run_weights_diff));
}

struct NoOptions {};

bool contains(std::initializer_list<const char*> words, const std::string& word) {
  return std::any_of(words.begin(), words.end(), [&](const char* each) { return word == each; });
}

}  // namespace

bool is_later_command(const std::string& word) { return contains({"format", "init", "completion"}, word); }
bool is_later_flag(const std::string& flag) { return contains({"--resume", "--save-every"}, flag); }

std::vector<Command> add_commands(CLI::App& program, bool& json) {
  std::vector<Command> commands{check_command(program, json),   compile_command(program, json),
                                show_command(program, json),    explain_command(program, json),
                                train_command(program, json),   evaluate_command(program, json),
                                predict_command(program, json), gradient_command(program, json),
                                verify_command(program, json),  bench_command(program, json)};
  add_weights_commands(program, json, commands);
  Flags<NoOptions> schema(program, "schema", "The JSON Schema of the format, for editors.", json);
  commands.push_back(schema.take([](const NoOptions&, const Console& console) { return run_schema(console); }));
  Flags<NoOptions> doctor(program, "doctor", "What this machine gives weir, and what is missing.", json);
  commands.push_back(doctor.take([](const NoOptions&, const Console& console) { return run_doctor(console); }));
  return commands;
}

}  // namespace weir::cli
