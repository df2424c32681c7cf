#include "compiler/cli/samples.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/cli/files.hpp"
#include "runtime/data/array.hpp"
#include "runtime/error.hpp"

namespace weir::cli {
namespace {

/// Where one input's samples come from; `given`: by --input, so relative to the current folder.
struct Source {
  DataSource data;
  bool given = false;
};
using Sources = std::map<std::string, Source, std::less<>>;

const DataSet* set_of(const Model& model, const std::string& set) {
  if (!model.spec.data) return nullptr;
  const std::optional<DataSet>& found = set == "train"        ? model.spec.data->train
                                        : set == "validation" ? model.spec.data->validation
                                                              : model.spec.data->test;
  return found ? &*found : nullptr;
}

double split_of(const Model& model) { return model.spec.data ? model.spec.data->validation_split.value : 0; }

void check_names(const Model& model, const NamedTexts& inputs) {
  std::vector<std::string> names;
  for (const auto& input : model.spec.inputs) names.push_back(input.name);
  for (const auto& [name, file] : inputs) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    const std::string near = nearest(name, names);
    throw Error(ErrorCode::invalid_argument,
                fmt::format("--input {}={}: the model has no input \"{}\"{}; its inputs are {}", name, file, name,
                            near.empty() ? "" : ", did you mean \"" + near + "\"?", fmt::join(names, ", ")));
  }
}

bool all_given(const DataOptions& options, const std::vector<InputBinding>& needed) {
  return !needed.empty() && std::all_of(needed.begin(), needed.end(), [&](const InputBinding& input) {
    return std::any_of(options.inputs.begin(), options.inputs.end(),
                       [&](const auto& each) { return each.first == input.name; });
  });
}

Sources sources_of(const Model& model, const DataOptions& options, const DataSet* set) {
  Sources sources;
  if (set)
    for (const auto& [name, source] : *set) sources[name] = {source, false};
  for (const auto& [name, file] : options.inputs) sources[name] = {{file, {}}, true};
  check_names(model, options.inputs);
  return sources;
}

std::filesystem::path resolve(const std::string& path, const Model& model, const DataOptions& options, bool given) {
  if (given) return path;
  return (options.folder.empty() ? model.folder : std::filesystem::path(options.folder)) / path;
}

SourceArray read_source(const Source& source, const InputBinding& input, const Model& model,
                        const DataOptions& options) {
  const auto* csv = std::get_if<CsvSource>(&source.data.source);
  const ArrayPath path = csv ? ArrayPath{csv->file, ""} : split_array_path(std::get<std::string>(source.data.source));
  const std::filesystem::path file = resolve(path.file, model, options, source.given);
  std::ifstream stream = open_file(file, fmt::format("input \"{}\": file", input.name));
  try {
    return read_array(stream, file.string(), {path.member, csv ? csv->columns : std::vector<std::string>{}});
  } catch (const Error& error) {
    const bool wrong_spec = error.code() == ErrorCode::invalid_argument && !source.given;
    throw Error(wrong_spec ? ErrorCode::invalid_data : error.code(),
                fmt::format("input \"{}\": {}", input.name, error.what()));
  }
}

void bind(Dataset& dataset, const Source& source, const InputBinding& input, const Model& model,
          const DataOptions& options) {
  const DatasetInput wanted{input.name, input.dims, input.dtype};
  if (const auto* random = std::get_if<RandomSource>(&source.data.source)) {
    const std::uint64_t seed = model.spec.train ? model.spec.train->seed : 0;
    return dataset.bind(wanted, RandomSamples{random->samples, random->classes}, seed);
  }
  dataset.bind(wanted, read_source(source, input, model, options));
}

std::string source_text(const Source& source, const Model& model, const DataOptions& options) {
  if (const auto* path = std::get_if<std::string>(&source.data.source))
    return resolve(*path, model, options, source.given).string();
  if (const auto* csv = std::get_if<CsvSource>(&source.data.source))
    return resolve(csv->file, model, options, source.given).string();
  return "random";
}

/// Classes of one input, some samples at a time, with the masks that hide some of them.
class ClassCheck {
 public:
  ClassCheck(const Dataset& dataset, const std::vector<InputBinding>& inputs, const InputBinding& input)
      : dataset_(dataset), inputs_(inputs), input_(input), size_(element_count(input.dims)) {
    readers_ = input.readers;
    if (readers_.empty()) readers_.push_back({.classes = input.classes});
  }

  struct Wrong {
    std::int64_t sample = 0;
    std::int32_t value = 0;
    std::int64_t classes = 0;
  };
  /// The first class outside the range of a reader that looks at it.
  std::optional<Wrong> find() const {
    const std::int64_t chunk = std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, size_));
    for (std::int64_t first = 0; first < dataset_.samples(); first += chunk) {
      std::vector<std::uint32_t> rows(static_cast<std::size_t>(std::min(chunk, dataset_.samples() - first)));
      std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
      for (const InputReader& reader : readers_)
        if (auto wrong = find(reader, rows)) return Wrong{first + wrong->sample, wrong->value, wrong->classes};
    }
    return std::nullopt;
  }

 private:
  std::optional<Wrong> find(const InputReader& reader, const std::vector<std::uint32_t>& rows) const {
    if (reader.classes == 0) return std::nullopt;
    std::vector<std::int32_t> classes(rows.size() * static_cast<std::size_t>(size_));
    dataset_.gather(rows, input_.name, classes.data());
    const std::vector<bool> hidden = hidden_by(reader, rows, classes.size());
    for (std::size_t i = 0; i < classes.size(); ++i)
      if (!hidden[i] && (classes[i] < 0 || classes[i] >= reader.classes) && reader.ignored != classes[i])
        return Wrong{static_cast<std::int64_t>(i) / size_, classes[i], reader.classes};
    return std::nullopt;
  }

  /// By entry: whether the reader's mask is 0 there. Floats and integers have the same zero.
  std::vector<bool> hidden_by(const InputReader& reader, const std::vector<std::uint32_t>& rows,
                              std::size_t entries) const {
    std::vector<bool> hidden(entries, false);
    if (reader.mask < 0) return hidden;
    const InputBinding& mask = inputs_.at(static_cast<std::size_t>(reader.mask));
    std::vector<std::int32_t> values(rows.size() * static_cast<std::size_t>(element_count(mask.dims)));
    dataset_.gather(rows, mask.name, values.data());
    for (std::size_t i = 0; i < entries; ++i) hidden[i] = values[i / (entries / values.size())] == 0;
    return hidden;
  }

  const Dataset& dataset_;
  const std::vector<InputBinding>& inputs_;
  const InputBinding& input_;
  std::int64_t size_;
  std::vector<InputReader> readers_;
};

/// Before the first step, so that a wrong label far back does not cost an epoch.
void check_classes(const Dataset& dataset, const std::vector<InputBinding>& inputs, const InputBinding& input,
                   const std::string& source) {
  if (input.dtype != DType::i32 || (input.classes == 0 && input.readers.empty())) return;
  if (const auto wrong = ClassCheck(dataset, inputs, input).find())
    throw Error(ErrorCode::invalid_data,
                fmt::format("input \"{}\": sample {} of {} holds class {}, but the model knows 0 to {}", input.name,
                            wrong->sample, source, wrong->value, wrong->classes - 1));
}

/// Nothing that the user wrote is ignored silently.
void tell_unread(const DataOptions& options, const std::vector<InputBinding>& needed, const Console& console) {
  for (const auto& [name, file] : options.inputs) {
    const bool read = std::any_of(needed.begin(), needed.end(),
                                  [&, &n = name](const InputBinding& input) { return input.name == n; });
    if (!read)
      console.err << fmt::format("warning: --input {}={}: nothing that is computed reads it, so it is not opened\n",
                                 name, file);
  }
}

Dataset open_sources(const Model& model, const DataOptions& options, const std::string& set, const Sources& sources,
                     const std::vector<InputBinding>& needed) {
  Dataset dataset;
  for (const InputBinding& input : needed) {
    const auto source = sources.find(input.name);
    if (source == sources.end())
      throw Error(
          ErrorCode::invalid_data,
          fmt::format("input \"{}\" has no data in the set \"{}\": name it in data.{} of the specification, or give "
                      "--input {}=FILE",
                      input.name, set, set, input.name));
    bind(dataset, source->second, input, model, options);
  }
  for (const InputBinding& input : needed)
    check_classes(dataset, needed, input, source_text(sources.find(input.name)->second, model, options));
  return dataset;
}

/// Where in the list the input stands; it is put there if it is not.
std::size_t place_of(std::vector<InputBinding>& inputs, const InputBinding& input) {
  const auto found =
      std::find_if(inputs.begin(), inputs.end(), [&](const InputBinding& each) { return each.name == input.name; });
  if (found != inputs.end()) return static_cast<std::size_t>(found - inputs.begin());
  inputs.push_back(input);
  inputs.back().readers.clear();
  return inputs.size() - 1;
}

}  // namespace

void add_inputs(std::vector<InputBinding>& inputs, const std::vector<InputBinding>& more) {
  for (const InputBinding& input : more) {
    const std::size_t known = inputs.size(), at = place_of(inputs, input);
    std::vector<InputReader> readers = input.readers;
    for (InputReader& reader : readers)
      if (reader.mask >= 0)
        reader.mask = static_cast<int>(place_of(inputs, more.at(static_cast<std::size_t>(reader.mask))));
    std::vector<InputReader>& all = inputs[at].readers;
    if (at >= known)
      all = std::move(readers);
    else if (all.empty() || readers.empty())
      all.clear();  // somebody reads all of it
    else
      all.insert(all.end(), readers.begin(), readers.end());
  }
}

bool has_set(const Model& model, const DataOptions& options, const std::string& set,
             const std::vector<InputBinding>& needed) {
  const bool by_split = set == "validation" && split_of(model) > 0 && set_of(model, "train");
  return set_of(model, set) || by_split || all_given(options, needed);
}

Dataset open_set(const Model& model, const DataOptions& options, const std::string& set,
                 const std::vector<InputBinding>& needed, const Console& console) {
  if (!has_set(model, options, set, needed))
    throw Error(
        ErrorCode::invalid_data,
        fmt::format("there is no set \"{}\": the specification's data section has none; add data.{}, or give every "
                    "input by --input NAME=FILE",
                    set, set));
  tell_unread(options, needed, console);
  const double split = split_of(model);
  const bool part = set == "validation" && !set_of(model, set) && !all_given(options, needed);
  if (part && !options.inputs.empty())
    throw Error(ErrorCode::invalid_argument,
                "the validation set is a part of train (validation_split); --input must give "
                "all of its inputs, or none");
  const Sources sources = sources_of(model, options, set_of(model, part ? "train" : set));
  const Dataset dataset = open_sources(model, options, set, sources, needed);
  if (part) return dataset.split(split).second;
  const bool shortened = set == "train" && split > 0 && !set_of(model, "validation");
  return shortened ? dataset.split(split).first : dataset;
}

TrainingSets open_training_sets(const Model& model, const DataOptions& options,
                                const std::vector<InputBinding>& trained, const std::vector<InputBinding>& evaluated,
                                const Console& console) {
  const double split = set_of(model, "validation") ? 0 : split_of(model);
  if (split == 0 || evaluated.empty()) {
    TrainingSets sets{open_set(model, options, "train", trained, console), std::nullopt};
    if (set_of(model, "validation") && !evaluated.empty())
      sets.validation = open_set(model, {options.folder, {}, ""}, "validation", evaluated, console);
    return sets;
  }
  std::vector<InputBinding> both = trained;
  add_inputs(both, evaluated);
  tell_unread(options, both, console);
  auto [train, validation] =
      open_sources(model, options, "train", sources_of(model, options, set_of(model, "train")), both).split(split);
  return {std::move(train), std::move(validation)};
}

}  // namespace weir::cli
