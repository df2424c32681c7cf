#include "runtime/formats/durable_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "runtime/error.hpp"

namespace weir {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view doing) {
  const int error = errno;
  throw Error(ErrorCode::io_error, fmt::format("{}: {} failed: {}", path.string(), doing, std::strerror(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }
  bool close() { return ::close(std::exchange(number_, -1)) == 0; }

 private:
  int number_;
};

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::filesystem::path temporary_sibling(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter = 0;
  return folder_of(path) / fmt::format(".{}.{}.{}.tmp", path.filename().string(), ::getpid(), counter++);
}

/// Removes the temporary unless it was renamed.
class Temporary {
 public:
  explicit Temporary(std::filesystem::path path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!kept_) ::unlink(path_.c_str());
  }
  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

int create(const std::filesystem::path& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

/// Reports a full disk before anything is written; file systems that cannot reserve are no error.
bool reserve(int file, std::size_t size) {
  if (size == 0 || ::fallocate(file, 0, 0, static_cast<off_t>(size)) == 0) return true;
  return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
}

bool write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

void sync_folder(const std::filesystem::path& path) {
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() < 0 || ::fsync(folder.number()) != 0) fail(path, "syncing the folder");
}

}  // namespace

void write_durably(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces) {
  const std::filesystem::path sibling = temporary_sibling(path);
  Descriptor file(create(sibling));
  if (file.number() < 0) fail(path, "creating a temporary file beside it");
  Temporary temporary(sibling);
  std::size_t size = 0;
  for (const auto& piece : pieces) size += piece.size();
  if (!reserve(file.number(), size)) fail(path, fmt::format("reserving {} bytes", size));
  for (const auto& piece : pieces)
    if (!write_all(file.number(), piece)) fail(path, "writing");
  if (::fsync(file.number()) != 0) fail(path, "syncing");
  if (!file.close()) fail(path, "closing");
  if (::rename(sibling.c_str(), path.c_str()) != 0) fail(path, "replacing it");
  temporary.keep();
  sync_folder(path);
}

void write_durably(const std::filesystem::path& path, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  write_durably(path, std::span(&piece, 1));
}

}  // namespace weir
