// The plan as a file: JSON, format "weir-plan/1", one recipe a line where a person would want it. Reading trusts
// nothing: types and ranges are checked here with the JSON pointer of the culprit, meaning by validate_plan.
#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "runtime/error.hpp"
#include "runtime/plan.hpp"

namespace weir {
namespace {

using Json = nlohmann::ordered_json;  ///< to write: members in the order of their mention
using Parsed = nlohmann::json;        ///< to read: members are found by name, and none is copied while others come
constexpr std::string_view format_word = "weir-plan/1";
constexpr std::size_t most_text = std::size_t{256} << 20;
constexpr int deepest = 64;
constexpr std::int64_t least_integer = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t most_integer =
    std::numeric_limits<std::int64_t>::max();  // settings are any 64-bit integers (hashes)

// ---- writing
// --------------------------------------------------------------------------------------------------------------------

Json write(const Initializer& value) {
  Json json = {{"type", value.type}};
  for (const auto& [key, number] : value.numbers) json["numbers"][key] = number;
  for (const auto& [key, word] : value.words) json["words"][key] = word;
  return json;
}

Json write(const AttributeValue& value) {
  return std::visit(
      [](const auto& held) -> Json {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, Initializer>)
          return write(held);
        else if constexpr (std::is_same_v<T, double>)
          return Json{{"number", held}};  // so that 1.0 stays a number, not an integer
        else if constexpr (std::is_same_v<T, std::vector<double>>)
          return Json{{"numbers", held}};
        else
          return Json(held);
      },
      value);
}

Json write(const Shape& shape) { return {{"dims", shape.dims}, {"axes", shape.axes}, {"layout", shape.layout}}; }

Json write(const RecipeOperand& operand) {
  static const char* const accesses[] = {"read", "write", "update"};
  Json json = {{"role", operand.role},
               {"access", accesses[static_cast<int>(operand.access)]},
               {"dtype", to_string(operand.dtype)}};
  json.update(write(operand.shape));
  return json;
}

Json write(const Recipe& recipe) {
  Json operands = Json::array(), attributes = Json::object();
  for (const RecipeOperand& operand : recipe.operands) operands.push_back(write(operand));
  for (const auto& [name, value] : recipe.attributes) attributes[name] = write(value);
  return {{"kernel", recipe.kernel}, {"operands", operands}, {"attributes", attributes}, {"threads", recipe.threads}};
}

Json write(const Buffer& buffer) {
  Json json = {{"name", buffer.name}, {"class", to_string(buffer.kind)}, {"dtype", to_string(buffer.dtype)}};
  json.update(write(buffer.shape));
  json["offset"] = buffer.offset;
  json["bytes"] = byte_count(buffer);
  return json;
}

Json write(const std::vector<Step>& steps) {
  Json list = Json::array();
  for (const Step& step : steps) {
    Json operands = Json::array();
    for (BufferRef ref : step.operands) operands.push_back(to_string(ref));
    Json json = {{"node", step.node}, {"recipe", step.recipe}, {"operands", operands}};
    if (step.watched) json["watched"] = true;
    list.push_back(json);
  }
  return list;
}

Json write(const std::vector<OutputBinding>& bindings) {
  Json list = Json::array();
  for (const OutputBinding& binding : bindings)
    list.push_back({{"name", binding.name}, {"dims", binding.dims}, {"buffer", binding.buffer}});
  return list;
}

Json write(const InputBinding& input) {
  Json json = {{"name", input.name},
               {"dtype", to_string(input.dtype)},
               {"dims", input.dims},
               {"buffer", input.buffer},
               {"classes", input.classes}};
  if (input.mask) json["mask"] = true;
  for (const InputReader& reader : input.readers) {
    json["readers"].push_back({{"mask", reader.mask}, {"classes", reader.classes}});
    if (reader.ignored) json["readers"].back()["ignored"] = *reader.ignored;
  }
  return json;
}

Json write(const Program& program) {
  Json json = {{"kind", to_string(program.kind)},
               {"batch", program.batch},
               {"arena_bytes", program.arena_bytes},
               {"lower_bound", program.lower_bound}};
  json["buffers"] = Json::array();
  for (const Buffer& buffer : program.buffers) json["buffers"].push_back(write(buffer));
  json["refresh"] = write(program.refresh);
  json["compute"] = write(program.compute);
  json["commit"] = write(program.commit);
  json["inputs"] = Json::array();
  for (const InputBinding& input : program.inputs) json["inputs"].push_back(write(input));
  json["outputs"] = write(program.outputs);
  json["gradients"] = write(program.gradients);
  json["checks"] = Json::array();
  for (const Check& check : program.checks)
    json["checks"].push_back({{"name", check.name}, {"buffer", to_string(check.buffer)}, {"bound", check.bound}});
  json["terms"] = Json::array();
  for (const TermReport& term : program.terms) {
    json["terms"].push_back({{"name", term.name}, {"value", term.value}, {"weight", term.weight}});
    if (term.regularizer) json["terms"].back()["regularizer"] = true;
    if (term.denominator >= 0) json["terms"].back()["denominator"] = term.denominator;
    if (term.given >= 0) json["terms"].back()["given"] = term.given;
  }
  json["metrics"] = Json::array();
  for (const MetricReport& metric : program.metrics) {
    json["metrics"].push_back({{"name", metric.name}, {"value", metric.value}});
    if (metric.denominator >= 0) json["metrics"].back()["denominator"] = metric.denominator;
  }
  return json;
}

Json write(const Parameter& parameter) {
  return {{"name", parameter.name},
          {"dims", parameter.dims},
          {"statistic", parameter.statistic},
          {"trained", parameter.trained},
          {"initializer", write(parameter.initializer)},
          {"buffer", parameter.buffer},
          {"state", parameter.state}};
}

Json write(const ScheduledScalar& one) {
  const Schedule& schedule = one.schedule;
  Json json = {{"scalar", one.scalar}, {"curve", to_string(schedule.curve)}, {"per_epoch", schedule.per_epoch}};
  if (schedule.curve == Schedule::Curve::piecewise) {
    json["boundaries"] = schedule.boundaries;
    json["values"] = schedule.values;
    return json;
  }
  json.update({{"from", schedule.from}, {"to", schedule.to}, {"start", schedule.start}, {"length", schedule.length}});
  return json;
}

/// Objects and lists of the outer levels on lines of their own, each leaf entry on one line: readable, diffable,
/// compact.
void print_json(const Json& json, int depth, std::string& text) {
  const bool spread = depth < 4 && json.is_structured() && !json.empty() && (depth < 3 || json.front().is_structured());
  if (!spread) {
    text += json.dump();
    return;
  }
  const std::string indent(static_cast<std::size_t>(depth + 1), ' ');
  text += json.is_object() ? "{\n" : "[\n";
  std::size_t left = json.size();
  for (const auto& item : json.items()) {
    text += indent;
    if (json.is_object()) text += Json(item.key()).dump() + ": ";
    print_json(item.value(), depth + 1, text);
    text += --left ? ",\n" : "\n";
  }
  text += std::string(static_cast<std::size_t>(depth), ' ') + (json.is_object() ? "}" : "]");
}

// ---- reading
// --------------------------------------------------------------------------------------------------------------------

/// A JSON value with the way that leads to it; every access checks. A reader refers to the one it came from, which has
/// to live as long: so the pointer is put together only where something is wrong.
class Reader {
 public:
  explicit Reader(const Parsed& json) : json_(json) {}

  [[noreturn]] void bad(const std::string& why) const {
    throw Error(ErrorCode::invalid_data,
                "plan: " + (parent_ ? pointer() : "/") + ": " + why + "; compile the specification again");
  }

  Reader operator[](const char* key) const {
    if (!json_.is_object()) bad("an object is expected");
    const auto found = json_.find(key);
    if (found == json_.end()) bad(std::string("\"") + key + "\" is missing");
    return {*found, *this, key, 0};
  }

  bool has(const char* key) const { return json_.is_object() && json_.contains(key); }

  std::string text() const {
    if (!json_.is_string()) bad("a string is expected");
    return json_.get<std::string>();
  }
  bool flag() const {
    if (!json_.is_boolean()) bad("true or false is expected");
    return json_.get<bool>();
  }
  double number() const {
    if (!json_.is_number()) bad("a number is expected");
    return json_.get<double>();
  }
  std::int64_t integer(std::int64_t least, std::int64_t most = std::int64_t{1} << 62) const {
    const bool fits = json_.is_number_unsigned() ? json_.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                                                 : json_.is_number_integer();
    if (!fits || json_.get<std::int64_t>() < least || json_.get<std::int64_t>() > most)
      bad("an integer from " + std::to_string(least) + " to " + std::to_string(most) + " is expected");
    return json_.get<std::int64_t>();
  }
  int index(int least = 0) const { return static_cast<int>(integer(least, 1 << 30)); }
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(integer(0)); }

  template <class Each>
  void each(const Each& visit) const {
    if (!json_.is_array()) bad("a list is expected");
    for (std::size_t i = 0; i < json_.size(); ++i) visit(Reader(json_[i], *this, {}, i));
  }
  template <class Each>
  void each_member(const Each& visit) const {
    if (!json_.is_object()) bad("an object is expected");
    for (const auto& item : json_.items()) visit(item.key(), Reader(item.value(), *this, item.key(), 0));
  }

  const Parsed& json() const { return json_; }

 private:
  Reader(const Parsed& json, const Reader& parent, std::string_view key, std::size_t at)
      : json_(json), parent_(&parent), key_(key), at_(at) {}

  std::string pointer() const {
    if (!parent_) return {};
    return parent_->pointer() + "/" + (key_.data() ? std::string(key_) : std::to_string(at_));
  }

  const Parsed& json_;
  const Reader* parent_ = nullptr;
  std::string_view key_ = {};  ///< null data: an entry of a list
  std::size_t at_ = 0;
};

Dims read_dims(const Reader& reader) {
  Dims dims;
  reader.each([&](const Reader& item) { dims.push_back(item.integer(0, std::int64_t{1} << 31)); });
  if (dims.size() > 12) reader.bad("more than 12 dimensions");
  return dims;
}

Shape read_shape(const Reader& reader) {
  return {read_dims(reader["dims"]), reader["axes"].text(), reader["layout"].text()};
}
DType read_dtype(const Reader& reader) { return dtype_from_string(reader["dtype"].text()); }

Initializer read_initializer(const Reader& reader) {
  Initializer value{reader["type"].text(), {}, {}};
  if (reader.has("numbers"))
    reader["numbers"].each_member(
        [&](const std::string& key, const Reader& item) { value.numbers[key] = item.number(); });
  if (reader.has("words"))
    reader["words"].each_member([&](const std::string& key, const Reader& item) { value.words[key] = item.text(); });
  return value;
}

AttributeValue read_attribute(const Reader& reader) {
  const Parsed& json = reader.json();
  if (json.is_boolean()) return reader.flag();
  if (json.is_number_integer()) return reader.integer(least_integer, most_integer);
  if (json.is_string()) return reader.text();
  if (reader.has("number")) return reader["number"].number();
  if (reader.has("type")) return read_initializer(reader);
  if (reader.has("numbers")) {
    std::vector<double> numbers;
    reader["numbers"].each([&](const Reader& item) { numbers.push_back(item.number()); });
    return numbers;
  }
  std::vector<std::int64_t> integers;
  reader.each([&](const Reader& item) { integers.push_back(item.integer(least_integer, most_integer)); });
  return integers;
}

Recipe read_recipe(const Reader& reader) {
  Recipe recipe{.kernel = reader["kernel"].text(), .threads = static_cast<int>(reader["threads"].integer(1, 4096))};
  reader["operands"].each([&](const Reader& item) {
    const std::string access = item["access"].text();
    if (access != "read" && access != "write" && access != "update") item.bad("access is read, write or update");
    recipe.operands.push_back({item["role"].text(),
                               access == "read"    ? Access::read
                               : access == "write" ? Access::write
                                                   : Access::update,
                               read_dtype(item), read_shape(item)});
  });
  reader["attributes"].each_member(
      [&](const std::string& key, const Reader& item) { recipe.attributes.set(key, read_attribute(item)); });
  return recipe;
}

BufferClass read_class(const Reader& reader) {
  const std::string word = reader.text();
  for (int i = 0; i <= static_cast<int>(BufferClass::output); ++i)
    if (to_string(static_cast<BufferClass>(i)) == word) return static_cast<BufferClass>(i);
  reader.bad("unknown class \"" + word + "\"");
}

Buffer read_buffer(const Reader& reader) {
  return {reader["name"].text(), read_class(reader["class"]), read_dtype(reader), read_shape(reader),
          reader["offset"].bytes()};
}

BufferRef read_ref(const Reader& reader) {
  const std::string text = reader.text();
  const auto letter = std::string_view("pbs").find(text.empty() ? '?' : text[0]);
  if (letter == std::string_view::npos || text.size() < 2 || text.size() > 9 ||
      text.find_first_not_of("0123456789", 1) != std::string::npos)
    reader.bad("\"" + text + "\" is no buffer (p3, b4, s2)");
  return {static_cast<BufferRef::Space>(letter), std::stoi(text.substr(1))};
}

std::vector<Step> read_steps(const Reader& reader) {
  std::vector<Step> steps;
  reader.each([&](const Reader& item) {
    Step step{.recipe = item["recipe"].index(),
              .operands = {},
              .node = item["node"].text(),
              .watched = item.has("watched") && item["watched"].flag()};
    item["operands"].each([&](const Reader& operand) { step.operands.push_back(read_ref(operand)); });
    steps.push_back(std::move(step));
  });
  return steps;
}

std::vector<OutputBinding> read_outputs(const Reader& reader) {
  std::vector<OutputBinding> bindings;
  reader.each([&](const Reader& item) {
    bindings.push_back({item["name"].text(), read_dims(item["dims"]), item["buffer"].index()});
  });
  return bindings;
}

ProgramKind read_kind(const Reader& reader) {
  for (ProgramKind kind : {ProgramKind::train, ProgramKind::evaluate, ProgramKind::predict})
    if (to_string(kind) == reader.text()) return kind;
  reader.bad("unknown kind of program");
}

InputBinding read_input(const Reader& item) {
  InputBinding input{item["name"].text(), read_dtype(item), read_dims(item["dims"]), item["buffer"].index(),
                     item["classes"].integer(0)};
  input.mask = item.has("mask") && item["mask"].flag();
  if (!item.has("readers")) return input;
  item["readers"].each([&](const Reader& one) {
    InputReader reader{.mask = one["mask"].index(-1), .classes = one["classes"].integer(0)};
    if (one.has("ignored")) reader.ignored = one["ignored"].integer(least_integer, most_integer);
    input.readers.push_back(reader);
  });
  return input;
}

Program read_program(const Reader& reader) {
  Program program;
  program.kind = read_kind(reader["kind"]);
  program.batch = reader["batch"].integer(1, std::int64_t{1} << 31);
  program.arena_bytes = reader["arena_bytes"].bytes();
  program.lower_bound = reader["lower_bound"].bytes();
  reader["buffers"].each([&](const Reader& item) { program.buffers.push_back(read_buffer(item)); });
  program.refresh = read_steps(reader["refresh"]);
  program.compute = read_steps(reader["compute"]);
  program.commit = read_steps(reader["commit"]);
  reader["inputs"].each([&](const Reader& item) { program.inputs.push_back(read_input(item)); });
  program.outputs = read_outputs(reader["outputs"]);
  program.gradients = read_outputs(reader["gradients"]);
  reader["checks"].each([&](const Reader& item) {
    program.checks.push_back({item["name"].text(), read_ref(item["buffer"]), item["bound"].number()});
  });
  reader["terms"].each([&](const Reader& item) {
    program.terms.push_back({item["name"].text(), item["value"].index(), item["weight"].index(-1),
                             item.has("denominator") ? item["denominator"].index() : -1,
                             item.has("regularizer") && item["regularizer"].flag(),
                             item.has("given") ? item["given"].index() : -1});
  });
  reader["metrics"].each([&](const Reader& item) {
    program.metrics.push_back(
        {item["name"].text(), item["value"].index(), item.has("denominator") ? item["denominator"].index() : -1});
  });
  return program;
}

Parameter read_parameter(const Reader& reader) {
  Parameter parameter{reader["name"].text(),
                      read_dims(reader["dims"]),
                      reader["statistic"].flag(),
                      reader["trained"].flag(),
                      read_initializer(reader["initializer"]),
                      reader["buffer"].index(),
                      {}};
  reader["state"].each_member([&](const std::string& key, const Reader& item) { parameter.state[key] = item.index(); });
  return parameter;
}

Schedule::Curve read_curve(const Reader& reader) {
  for (const auto curve : {Schedule::Curve::linear, Schedule::Curve::cosine, Schedule::Curve::exponential})
    if (to_string(curve) == reader.text()) return curve;
  if (reader.text() != to_string(Schedule::Curve::piecewise)) reader.bad("unknown curve of a schedule");
  return Schedule::Curve::piecewise;
}

ScheduledScalar read_schedule(const Reader& reader) {
  ScheduledScalar one{reader["scalar"].index(), {}};
  Schedule& schedule = one.schedule;
  schedule.curve = read_curve(reader["curve"]);
  schedule.per_epoch = reader["per_epoch"].flag();
  if (schedule.curve == Schedule::Curve::piecewise) {
    reader["boundaries"].each([&](const Reader& item) { schedule.boundaries.push_back(item.number()); });
    reader["values"].each([&](const Reader& item) { schedule.values.push_back(item.number()); });
    return one;
  }
  schedule.from = reader["from"].number();
  schedule.to = reader["to"].number();
  schedule.start = reader["start"].number();
  schedule.length = reader["length"].number();
  return one;
}

/// Lists and objects around the innermost value. Of text that is no JSON any number will do.
int depth_of(std::string_view text) {
  int depth = 0, most = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (quoted) {
      if (c == '\\') ++i;
      continue;
    }
    if (c == '[' || c == '{') most = std::max(most, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return most;
}

/// The depth is limited beforehand: the library's own way, a question at every value, takes a third longer.
Parsed parse(std::string_view text) {
  if (text.size() > most_text) throw Error(ErrorCode::limit_exceeded, "plan: the file is larger than 256 MiB");
  if (depth_of(text) > deepest) throw Error(ErrorCode::limit_exceeded, "plan: nested deeper than 64 levels");
  try {
    return Parsed::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::invalid_data, std::string("plan: no JSON: ") + error.what());
  }
}

void check_format(const Reader& reader) {
  const std::string format = reader["format"].text();
  if (format == format_word) return;
  if (format.starts_with("weir-plan/"))
    throw Error(ErrorCode::version_mismatch, "plan: format \"" + format + "\" is newer than this weir reads (" +
                                                 std::string(format_word) + "); compile the specification again");
  reader.bad("format \"" + format + "\" is no plan (" + std::string(format_word) + ")");
}

}  // namespace

std::string plan_to_json(const Plan& plan) {
  Json json = {{"format", format_word}, {"model", plan.model}};
  json["fingerprint"] = {{"library", plan.fingerprint.library},
                         {"instructions", plan.fingerprint.instructions},
                         {"threads", plan.fingerprint.threads}};
  json["spec_hash"] = plan.spec_hash;
  json["spec"] = plan.spec;
  const TrainingSettings& training = plan.training;
  json["training"] = {{"batch_size", training.batch_size},
                      {"epochs", training.epochs},
                      {"seed", training.seed},
                      {"shuffle", training.shuffle},
                      {"drop_remainder", training.drop_remainder}};
  json["inputs"] = plan.inputs;
  json["store_bytes"] = plan.store_bytes;
  json["store"] = Json::array();
  for (const Buffer& buffer : plan.store) json["store"].push_back(write(buffer));
  json["parameters"] = Json::array();
  for (const Parameter& parameter : plan.parameters) json["parameters"].push_back(write(parameter));
  json["scalars"] = Json::array();
  for (const Scalar& scalar : plan.scalars)
    json["scalars"].push_back({{"name", scalar.name}, {"initial", scalar.initial}});
  if (!plan.schedules.empty()) json["schedules"] = Json::array();
  for (const ScheduledScalar& one : plan.schedules) json["schedules"].push_back(write(one));
  if (plan.normalized_weights) json["normalized_weights"] = true;
  if (plan.tuning) json["tuning"] = {{"timed", plan.tuning->timed}, {"changed", plan.tuning->changed}};
  json["recipes"] = Json::array();
  for (const Recipe& recipe : plan.recipes) json["recipes"].push_back(write(recipe));
  json["programs"] = Json::array();
  for (const Program& program : plan.programs) json["programs"].push_back(write(program));
  std::string text;
  print_json(json, 0, text);
  return text + "\n";
}

Plan plan_from_json(std::string_view text) {
  const Parsed json = parse(text);
  const Reader reader(json);
  check_format(reader);
  Plan plan;
  plan.model = reader["model"].text();
  const Reader fingerprint = reader["fingerprint"], training = reader["training"];
  plan.fingerprint = {fingerprint["library"].text(), fingerprint["instructions"].text(),
                      static_cast<int>(fingerprint["threads"].integer(1, 4096))};
  plan.spec_hash = reader["spec_hash"].text();
  plan.spec = reader["spec"].text();
  plan.training = {training["batch_size"].integer(1), training["epochs"].integer(0),
                   static_cast<std::uint64_t>(training["seed"].integer(0)), training["shuffle"].flag(),
                   training["drop_remainder"].flag()};
  reader["inputs"].each([&](const Reader& item) { plan.inputs.push_back(item.text()); });
  plan.store_bytes = reader["store_bytes"].bytes();
  reader["store"].each([&](const Reader& item) { plan.store.push_back(read_buffer(item)); });
  reader["parameters"].each([&](const Reader& item) { plan.parameters.push_back(read_parameter(item)); });
  reader["scalars"].each([&](const Reader& item) {
    plan.scalars.push_back({item["name"].text(), item["initial"].number()});
  });
  if (reader.has("schedules"))
    reader["schedules"].each([&](const Reader& item) { plan.schedules.push_back(read_schedule(item)); });
  plan.normalized_weights = reader.has("normalized_weights") && reader["normalized_weights"].flag();
  if (reader.has("tuning")) plan.tuning = {reader["tuning"]["timed"].index(), reader["tuning"]["changed"].index()};
  reader["recipes"].each([&](const Reader& item) { plan.recipes.push_back(read_recipe(item)); });
  reader["programs"].each([&](const Reader& item) { plan.programs.push_back(read_program(item)); });
  validate_plan(plan);
  return plan;
}

}  // namespace weir
