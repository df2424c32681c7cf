// Patterns of names: `*` stands for any characters, also none. A name has no `*`, so a text with one is a pattern.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir {

inline bool is_pattern(std::string_view text) { return text.find('*') != std::string_view::npos; }

bool matches(std::string_view pattern, std::string_view name);

/// Those of the names that it matches, in their order.
std::vector<std::string> matching(std::string_view pattern, const std::vector<std::string>& names);

/// Without the stars: what a near name is looked for by.
std::string without_stars(std::string_view pattern);

}  // namespace weir
