#include "compiler/cli/tuning_file.hpp"

#include <cstdlib>

#include <fmt/format.h>

#include "compiler/cli/files.hpp"
#include "runtime/error.hpp"
#include "runtime/formats/durable_file.hpp"

namespace weir::cli {
namespace {

constexpr double seconds_between_lines = 1;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::filesystem::path tuning_file_path() {
  const std::filesystem::path cache = environment("XDG_CACHE_HOME"), home = environment("HOME");
  if (cache.is_absolute()) return cache / "weir" / "tuning.json";  // a relative one is to be ignored, says its standard
  if (!home.empty()) return home / ".cache" / "weir" / "tuning.json";
  return {};
}

TuningFile::TuningFile(std::filesystem::path path, int threads, const Console& console)
    : path_(std::move(path)), machine_(machine_name(threads)), console_(console) {
  std::error_code ignored;
  if (path_.empty() || !std::filesystem::exists(path_, ignored)) return;
  try {
    tables_ = tuning_from_json(read_text(path_, "file of times"));
  } catch (const Error& error) {
    console_.err << fmt::format("{} is not used and written anew: {}\n", path_.string(), error.what());
  }
}

TuningOptions TuningFile::options() {
  return {.table = &tables_[machine_], .progress = [this](int timed, double seconds) { show(timed, seconds); }};
}

void TuningFile::show(int timed, double seconds) {
  timed_ = timed;
  if (console_.json || seconds < shown_ + seconds_between_lines) return;
  shown_ = seconds;
  console_.err << fmt::format("tuning: {} recipes timed in {:.0f} s\n", timed, seconds) << std::flush;
}

void TuningFile::save() {
  if (timed_ == 0 || path_.empty()) return;
  try {
    std::filesystem::create_directories(path_.parent_path());
    write_durably(path_, tuning_to_json(tables_));
  } catch (const std::exception& error) {
    console_.err << fmt::format("what was timed is not kept: {}\n", error.what());
  }
}

}  // namespace weir::cli
