#include "compiler/cli/files.hpp"

#include <cerrno>
#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "runtime/error.hpp"

namespace weir::cli {

std::ifstream open_file(const std::filesystem::path& path, const std::string& what) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw Error(ErrorCode::io_error, fmt::format("{} \"{}\" is a folder, not a file", what, path.string()));
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (stream) return stream;
  throw Error(ErrorCode::io_error, fmt::format("{} \"{}\" cannot be read: {}", what, path.string(),
                                               errno ? std::strerror(errno) : "unknown"));
}

std::string read_text(const std::filesystem::path& path, const std::string& what) {
  std::ifstream stream = open_file(path, what);
  std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (stream.bad())
    throw Error(ErrorCode::io_error, fmt::format("{} \"{}\" could not be read to its end", what, path.string()));
  return text;
}

}  // namespace weir::cli
