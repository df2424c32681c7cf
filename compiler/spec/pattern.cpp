#include "compiler/spec/pattern.hpp"

#include <algorithm>

namespace weir {

/// Greedy with one point to return to, the last star: linear in practice, never exponential.
bool matches(std::string_view pattern, std::string_view name) {
  std::size_t at = 0, in = 0, star = std::string_view::npos, resume = 0;
  while (in < name.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      resume = in;
    } else if (at < pattern.size() && pattern[at] == name[in]) {
      ++at, ++in;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      in = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

std::vector<std::string> matching(std::string_view pattern, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  std::copy_if(names.begin(), names.end(), std::back_inserter(found),
               [&](const std::string& name) { return matches(pattern, name); });
  return found;
}

std::string without_stars(std::string_view pattern) {
  std::string text(pattern);
  std::erase(text, '*');
  return text;
}

}  // namespace weir
