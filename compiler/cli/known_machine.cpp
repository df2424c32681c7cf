#include "compiler/cli/known_machine.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "compiler/cli/files.hpp"
#include "compiler/cli/text.hpp"
#include "runtime/error.hpp"
#include "runtime/formats/durable_file.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* format = "weir-machines/1";
constexpr std::size_t most_kept = 32;  ///< beyond it the oldest go

struct Known {
  std::string cpu, instructions;
  Machine machine;

  bool same_machine(const Known& other) const {
    return cpu == other.cpu && instructions == other.instructions && machine.threads == other.machine.threads;
  }
};

/// Empty where the system says nothing of a folder.
fs::path file_of_machines() {
  const auto folder = [](const char* variable) {
    const char* const text = std::getenv(variable);
    const fs::path path = text ? text : "";
    return path.is_absolute() ? path : fs::path();
  };
  if (const fs::path cache = folder("XDG_CACHE_HOME"); !cache.empty()) return cache / "weir" / "machines.json";
  if (const fs::path home = folder("HOME"); !home.empty()) return home / ".cache" / "weir" / "machines.json";
  return {};
}

double rate(const Json& json, const char* key) {
  const double value = json.at(key).get<double>();
  if (!std::isfinite(value) || value <= 0) throw Error(ErrorCode::invalid_data, fmt::format("{} is {}", key, value));
  return value;
}

Known known_of(const Json& json) {
  Known known{json.at("cpu").get<std::string>(),
              json.at("instructions").get<std::string>(),
              {.threads = json.at("threads").get<int>()}};
  known.machine.flops_per_second = rate(json, "flops_per_second");
  for (const Json& level : json.at("memory"))
    known.machine.levels.push_back({rate(level, "bytes"), rate(level, "bytes_per_second")});
  const auto smaller = [](const MemoryLevel& a, const MemoryLevel& b) { return a.bytes < b.bytes; };
  if (known.machine.levels.empty() ||
      !std::is_sorted(known.machine.levels.begin(), known.machine.levels.end(), smaller))
    throw Error(ErrorCode::invalid_data, "levels of memory are missing, or not in order");
  return known;
}

Json json_of(const Known& known) {
  Json memory = Json::array();
  for (const MemoryLevel& level : known.machine.levels)
    memory.push_back({{"bytes", level.bytes}, {"bytes_per_second", level.bytes_per_second}});
  return Json{{"cpu", known.cpu},
              {"instructions", known.instructions},
              {"threads", known.machine.threads},
              {"flops_per_second", known.machine.flops_per_second},
              {"memory", memory}};
}

/// Throws Error or Json::exception where the file is not what write() writes.
std::vector<Known> read(const fs::path& file) {
  if (!fs::exists(file)) return {};
  const Json json = Json::parse(read_text(file, "what is known of machines"));
  if (json.at("format") != format) throw Error(ErrorCode::invalid_data, fmt::format("its format is not {}", format));
  std::vector<Known> all;
  for (const Json& each : json.at("machines")) all.push_back(known_of(each));
  return all;
}

void write(const fs::path& file, const std::vector<Known>& all) {
  Json json{{"format", format}, {"machines", Json::array()}};
  for (const Known& known : all) json["machines"].push_back(json_of(known));
  fs::create_directories(file.parent_path());
  write_durably(file, json.dump(1) + '\n');
}

}  // namespace

Machine known_machine(int threads, const std::string& instructions, bool anew, const Console& console,
                      const std::function<Machine(int threads)>& measure) {
  const fs::path file = file_of_machines();
  Known wanted{cpu_model(), instructions, {.threads = threads}};
  std::vector<Known> all;
  try {
    if (!file.empty()) all = read(file);
  } catch (const std::exception& error) {
    console.err << fmt::format("warning: {} is not used, the machine is measured again: {}\n", file.string(),
                               error.what());
  }
  const auto found = std::find_if(all.begin(), all.end(), [&](const Known& each) { return each.same_machine(wanted); });
  if (found != all.end()) {
    if (!anew) return found->machine;
    all.erase(found);
  }
  wanted.machine = measure(threads);
  if (all.size() >= most_kept) all.erase(all.begin());
  all.push_back(wanted);
  try {
    if (!file.empty()) write(file, all);
  } catch (const std::exception& error) {
    console.err << fmt::format("warning: what was measured is not kept: {}\n", error.what());
  }
  return wanted.machine;
}

}  // namespace weir::cli
