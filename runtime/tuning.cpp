// Times as a file: small, flat and checked when it is read.
#include "runtime/tuning.hpp"

#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

#include "runtime/error.hpp"

namespace weir {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::string_view format_word = "weir-tuning/1";

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid_data, "tuning: " + why); }

/// The first "model name" of the kernel's list, or the machine's word for its architecture.
std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

double seconds_of(const Json& entry, const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_number()) refuse(std::string("\"") + key + "\" is no number");
  const double seconds = found->get<double>();
  if (!std::isfinite(seconds) || seconds < 0) refuse(std::string("\"") + key + "\" is no time");
  return seconds;
}

TuningTable read_table(const Json& json) {
  if (!json.is_object()) refuse("a machine's times must be an object");
  TuningTable table;
  for (const auto& item : json.items()) {
    const Json& entry = item.value();
    if (!entry.is_object() || !entry.contains("way") || !entry["way"].is_string()) refuse("a recipe has no \"way\"");
    table[item.key()] = {entry["way"].get<std::string>(), seconds_of(entry, "seconds"),
                         seconds_of(entry, "usual_seconds")};
  }
  return table;
}

Json parse(std::string_view text) {
  constexpr std::size_t most_text = std::size_t{64} << 20;
  constexpr int deepest = 8;
  if (text.size() > most_text) refuse("the file is larger than 64 MiB");
  const auto limit_depth = [](int depth, nlohmann::json::parse_event_t, Json&) {
    if (depth > deepest) refuse("nested deeper than 8 levels");
    return true;
  };
  try {
    return Json::parse(text, limit_depth);
  } catch (const nlohmann::json::exception&) {
    refuse("no JSON");
  }
}

}  // namespace

std::string machine_name(int threads) {
  const Fingerprint fingerprint = host_target(threads)->fingerprint();
  return cpu_model() + ", " + fingerprint.library + ", " + fingerprint.instructions + ", " + std::to_string(threads) +
         (threads == 1 ? " thread" : " threads");
}

std::string tuning_to_json(const TuningTables& tables) {
  Json json{{"format", format_word}, {"machines", Json::object()}};
  for (const auto& [machine, table] : tables) {
    Json& steps = json["machines"][machine] = Json::object();
    for (const auto& [recipe, step] : table)
      steps[recipe] = {{"way", step.way}, {"seconds", step.seconds}, {"usual_seconds", step.usual_seconds}};
  }
  return json.dump(1) + "\n";
}

TuningTables tuning_from_json(std::string_view text) {
  const Json json = parse(text);
  if (!json.is_object() || !json.contains("format") || !json["format"].is_string()) refuse("no \"format\"");
  const std::string format = json["format"].get<std::string>();
  if (format != format_word)
    throw Error(format.starts_with("weir-tuning/") ? ErrorCode::version_mismatch : ErrorCode::invalid_data,
                "tuning: format \"" + format + "\" is not " + std::string(format_word));
  if (!json.contains("machines") || !json["machines"].is_object()) refuse("no \"machines\"");
  TuningTables tables;
  for (const auto& item : json["machines"].items()) tables[item.key()] = read_table(item.value());
  return tables;
}

}  // namespace weir
