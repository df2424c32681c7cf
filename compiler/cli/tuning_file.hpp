// Where --tune keeps its times, so that a second compilation is as quick as one without: one file for all machines that
// share the folder, each under its name. A file that cannot be read is no mistake of the user's: it is said, and
// written anew.
#pragma once

#include <filesystem>
#include <string>

#include "compiler/cli/console.hpp"
#include "runtime/tuning.hpp"

namespace weir::cli {

/// $XDG_CACHE_HOME/weir/tuning.json, else ~/.cache/weir/tuning.json; empty where neither is set.
std::filesystem::path tuning_file_path();

class TuningFile {
 public:
  /// path: may be empty; then nothing is kept.
  TuningFile(std::filesystem::path path, int threads, const Console& console);
  TuningFile(const TuningFile&) = delete;
  TuningFile& operator=(const TuningFile&) = delete;

  /// The table of this machine; progress is told on console.err where it takes long. Valid as long as this object.
  TuningOptions options();
  /// Where something was timed. A folder that cannot be written to is said, not thrown.
  void save();

 private:
  void show(int timed, double seconds);

  std::filesystem::path path_;
  std::string machine_;
  const Console& console_;
  TuningTables tables_;
  int timed_ = 0;
  double shown_ = 0;
};

}  // namespace weir::cli
