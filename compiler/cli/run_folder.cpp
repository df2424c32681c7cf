#include "compiler/cli/run_folder.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "runtime/error.hpp"
#include "runtime/formats/durable_file.hpp"

namespace fs = std::filesystem;

namespace weir::cli {

RunFolder::RunFolder(fs::path path, bool force) : path_(std::move(path)) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("\"{}\" is a file; --out names the folder of the run", path_.string()));
  if (!force)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("\"{}\" exists: choose another folder with --out, or overwrite the run in it with --force",
                            path_.string()));
}

void RunFolder::refuse(const fs::path& file) const {
  throw Error(ErrorCode::io_error, fmt::format("\"{}\" cannot be written: {}", file.string(), std::strerror(errno)));
}

void RunFolder::begin(const std::string& specification) {
  std::error_code failure;
  fs::create_directories(path_, failure);
  if (failure)
    throw Error(ErrorCode::io_error, fmt::format("\"{}\" cannot be made: {}", path_.string(), failure.message()));
  for (const char* old : {"last.safetensors", "best.safetensors"}) fs::remove(path_ / old, failure);
  write_durably(path_ / "model.weir.json", specification);
  metrics_.open(path_ / "metrics.jsonl", std::ios::binary | std::ios::trunc);
  if (!metrics_) refuse(path_ / "metrics.jsonl");
}

void RunFolder::append(const std::string& line) {
  metrics_ << line << '\n';
  const auto now = std::chrono::steady_clock::now();
  if (now - flushed_ > std::chrono::seconds(1)) {
    metrics_.flush();
    flushed_ = now;
  }
  if (!metrics_) refuse(path_ / "metrics.jsonl");
}

void RunFolder::save(const Session& session) {
  session.save_weights(path_ / "last.safetensors");
  if (!metrics_.flush()) refuse(path_ / "metrics.jsonl");
}

}  // namespace weir::cli
