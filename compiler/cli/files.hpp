// Files that the user named: reading them whole, with messages that say what is wrong with the path.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace weir::cli {

/// Throws Error(io_error) where the file is missing, a folder or unreadable, in each case naming it.
std::ifstream open_file(const std::filesystem::path& path, const std::string& what);
std::string read_text(const std::filesystem::path& path, const std::string& what);

}  // namespace weir::cli
