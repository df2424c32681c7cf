// The JSON header of a safetensors file, parsed event by event: the only way to see duplicate names, and to take
// nothing that the format does not allow.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.hpp"

namespace weir {

struct SafetensorsEntry {
  std::string name, dtype;
  Dims dims;
  std::uint64_t begin = 0, end = 0;  ///< offsets into the bytes after the header
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  ///< in file order; names are unique, each has dtype, shape and both offsets
  std::map<std::string, std::string> metadata;
};

/// Checks the grammar, not what offsets and shapes say of each other. Throws Error(invalid_data) or
/// Error(limit_exceeded); `source_name` starts the message.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& source_name);

}  // namespace weir
