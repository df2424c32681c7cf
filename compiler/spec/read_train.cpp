// The train section (optimizer, batches, metrics) and the data section (files for the command line).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/spec/limits.hpp"
#include "compiler/spec/sections.hpp"

namespace weir {
namespace {

using Kind = Element::Kind;

void read_optimizer(Sections& sections, const Element& element) {
  Reading& reading = sections.reading;
  if (!reading.expect(element, Kind::object, "train", "optimizer",
                      "such as {\"type\": \"adam\", \"learning_rate\": 0.001}"))
    return;
  TrainSpec& train = *sections.spec.train;
  train.optimizer_place = element.place;
  if (const Element* type = element.find("type"))
    train.optimizer = read_op(reading, "optimizer", *type, "optimizer", {Role::optimizer}, LaterWords::optimizers());
  const ObjectReader reader(reading, element, "optimizer", optimizer_keys(), train.optimizer);
  train.optimizer_attributes = reader.attributes();
}

void read_metrics(Sections& sections, const Element& metrics) {
  if (!sections.reading.expect(metrics, Kind::object, "train", "metrics", "metrics by name")) return;
  std::size_t count = 0;
  for (const Member& member : metrics.members) {
    if (is_free_key(member.key)) continue;
    if (++count > limits::terms) {
      sections.reading.error("E0104", metrics.place, fmt::format("train: more than {} metrics", limits::terms));
      return;
    }
    check_name(sections.reading, member.key, member.place, "a metric", {"loss", "total", "contribution"});
    sections.spec.train->metrics.push_back(read_term(sections, member, true));
  }
}

/// A path as it is; nothing where it is none.
std::optional<std::string> read_path(Reading& reading, const std::string& subject, const Element& element) {
  if (element.text.empty() || element.text.find('\0') != std::string::npos) {
    reading.error("E0204", element.place, fmt::format("{}: {} is no path", subject, quote(element.text)));
    return std::nullopt;
  }
  return element.text;
}

std::optional<CsvSource> read_csv(Reading& reading, const std::string& subject, const Element& element) {
  const ObjectReader reader(reading, element, subject, csv_keys());
  CsvSource source;
  const Element *file = reader.find("file"), *columns = reader.find("columns");
  if (!file || !reading.expect(*file, Kind::text, subject, "file")) return std::nullopt;
  const auto path = read_path(reading, subject, *file);
  if (!path) return std::nullopt;
  source.file = *path;
  if (!columns) return source;
  if (!reading.expect(*columns, Kind::list, subject, "columns", "such as [\"age\", \"income\"]")) return std::nullopt;
  if (columns->items.empty())
    reading.error("E0204", columns->place, fmt::format("{}: \"columns\" is empty", subject)).help =
        "leave it out to take all columns";
  std::set<std::string> seen;
  for (const Element& item : columns->items) {
    if (!reading.expect(item, Kind::text, subject, "columns", "names of columns")) continue;
    if (!seen.insert(item.text).second)
      reading.error("E0207", item.place, fmt::format("{}: \"columns\" names {} twice", subject, quote(item.text)));
    source.columns.push_back(item.text);
  }
  return source;
}

std::optional<RandomSource> read_random(Sections& sections, const std::string& subject, const Element& element,
                                        const InputSpec* input) {
  Reading& reading = sections.reading;
  const ObjectReader reader(reading, element, subject, random_keys());
  const RandomSource source{reader.get<std::int64_t>("random"), reader.get<std::int64_t>("classes")};
  const Element* classes = element.find("classes");
  if (input && sections.is_surely(*input, DType::i32) && !reader.meant("classes"))
    reading.error("E0602", element.place, fmt::format("{}: random numbers for an i32 input need \"classes\"", subject))
        .help = "such as \"classes\": 10, for numbers from 0 to 9";
  if (input && sections.is_surely(*input, DType::f32) && classes)
    reading
        .error("E0602", classes->place, fmt::format("{}: \"classes\" is for i32 inputs, but this one is f32", subject))
        .help = "leave it out: the numbers are uniform from 0 to 1";
  return source;
}

/// Whether an object is meant as random samples, also where a key has a slip.
bool is_random(const Element& element) {
  for (const Member& member : element.members) {
    const std::string key = nearest(member.key, {"file", "columns", "random", "classes"});
    if (!key.empty()) return key == "random" || key == "classes";
  }
  return false;
}

std::optional<DataSource> read_source(Sections& sections, const std::string& subject, const Element& element,
                                      const InputSpec* input) {
  Reading& reading = sections.reading;
  const auto located = [&](auto source) -> std::optional<DataSource> {
    if (!source) return std::nullopt;
    return DataSource{std::move(*source), element.place};
  };
  if (element.is(Kind::text)) return located(read_path(reading, subject, element));
  if (element.is(Kind::object) && is_random(element)) return located(read_random(sections, subject, element, input));
  if (element.is(Kind::object)) return located(read_csv(reading, subject, element));
  reading.error("E0203", element.place,
                fmt::format("{} must be a path, {{\"file\": …, \"columns\": …}} or {{\"random\": …}}, found {}",
                            subject, describe(element)));
  return std::nullopt;
}

std::optional<DataSet> read_set(Sections& sections, const std::string& name, const Element* element) {
  if (!element || !sections.reading.expect(*element, Kind::object, "data", name, "files by input")) return std::nullopt;
  DataSet set;
  for (const Member& member : element->members) {
    if (is_free_key(member.key)) continue;
    const Names::Entry* entry = sections.names.find(member.key);
    const bool input = entry && entry->kind == Names::Kind::input;
    if (!input && sections.names.complete()) {
      sections.reading
          .error("E0601", member.place, fmt::format("data: \"{}\" names an unknown input {}", name, quote(member.key)))
          .help = sections.names.help(sections.reading, member.key, "inputs", {Names::Kind::input});
    }
    const std::string subject = fmt::format("data for {} in \"{}\"", quote(member.key), name);
    auto source =
        read_source(sections, subject, member.value, input ? &sections.spec.inputs.at(entry->index) : nullptr);
    if (source) set.emplace(member.key, std::move(*source));
  }
  return set;
}

}  // namespace

void read_train(Sections& sections, const Element& element) {
  if (!sections.reading.expect(element, Kind::object, "spec", "train")) return;
  TrainSpec& train = sections.spec.train.emplace();
  train.place = element.place;
  const ObjectReader reader(sections.reading, element, "train", train_keys());
  if (const Element* optimizer = reader.find("optimizer")) read_optimizer(sections, *optimizer);
  train.batch_size = reader.get<std::int64_t>("batch_size");
  train.epochs = reader.get<std::int64_t>("epochs");
  train.seed = static_cast<std::uint64_t>(reader.get<std::int64_t>("seed"));
  train.shuffle = reader.get<bool>("shuffle");
  train.drop_remainder = reader.get<bool>("drop_remainder");
  if (const Element* metrics = reader.find("metrics")) read_metrics(sections, *metrics);
}

void read_data(Sections& sections, const Element& element) {
  if (!sections.reading.expect(element, Kind::object, "spec", "data")) return;
  DataSpec& data = sections.spec.data.emplace();
  data.place = element.place;
  const ObjectReader reader(sections.reading, element, "data", data_keys());
  data.train = read_set(sections, "train", reader.find("train"));
  data.validation = read_set(sections, "validation", reader.find("validation"));
  data.test = read_set(sections, "test", reader.find("test"));
  const Element* split = reader.find("validation_split");
  if (!split) return;
  data.validation_split = {reader.get<double>("validation_split"), split->place};
  if (reader.has("validation"))
    sections.reading.error("E0603", split->place, "data: \"validation_split\" and \"validation\" are both there").help =
        "keep one of them";
  else if (!reader.meant("train"))
    sections.reading.error("E0603", split->place,
                           "data: \"validation_split\" takes its share of \"train\", which is missing");
}

}  // namespace weir
