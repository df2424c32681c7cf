// What a training run leaves behind: RUN/metrics.jsonl, RUN/model.weir.json, RUN/last.safetensors. A file is replaced
// whole or not at all; lines are only ever appended.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/session.hpp"

namespace weir::cli {

class RunFolder {
 public:
  /// Nothing is written yet. Throws Error(invalid_argument) where the path exists, unless `force` and it is a folder.
  RunFolder(std::filesystem::path path, bool force);

  /// Makes the folder, empties metrics.jsonl, writes the specification and removes weights of an earlier run. Throws
  /// io_error.
  void begin(const std::string& specification);
  void append(const std::string& line);  ///< on disk within a second, for those who watch
  void save(const Session& session);     ///< last.safetensors; flushes the lines too

  const std::filesystem::path& path() const { return path_; }

 private:
  [[noreturn]] void refuse(const std::filesystem::path& file) const;
  std::filesystem::path path_;
  std::ofstream metrics_;
  std::chrono::steady_clock::time_point flushed_{};
};

}  // namespace weir::cli
