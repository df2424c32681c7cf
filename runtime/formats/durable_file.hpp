// Replacing a file completely or not at all: a reader, also one after a power cut, sees the old bytes or the new ones.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace weir {

/// Writes the pieces one after the other to a temporary sibling (created exclusively), syncs it, renames it over `path`
/// and syncs the folder. On any error the temporary is removed, the old file is as it was, and Error(io_error) names
/// the path and what the system said. Permissions are those of any new file (umask).
void write_durably(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
void write_durably(const std::filesystem::path& path, std::string_view text);

}  // namespace weir
