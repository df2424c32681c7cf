// The Markdown files of the repository as the tests of the documentation read them: headings, code blocks, links, and
// parts that are written by a test from what the program itself knows.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace weir::markdown {

namespace fs = std::filesystem;

inline fs::path root() { return WEIR_SOURCE_DIR; }

inline std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

/// A fenced block: ```info … ```.
struct Block {
  std::string file;  ///< relative to the root
  int line = 0;      ///< of the opening fence
  std::vector<std::string> info;
  std::string text;
  std::string place() const { return file + ":" + std::to_string(line); }
};

inline std::vector<Block> blocks(const std::string& file) {
  std::istringstream text(read(root() / file));
  std::vector<Block> found;
  bool open = false;
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.starts_with("```")) {
      if (!open) found.push_back({file, number, words_of(line.substr(3)), ""});
      open = !open;
    } else if (open) {
      found.back().text += line + '\n';
    }
  }
  REQUIRE_MESSAGE(!open, file, " ends inside a code block");
  return found;
}

/// The text under a heading, up to the next one of its level or above; "" where there is none.
inline std::string section(const std::string& text, const std::string& heading) {
  const std::size_t begin = ("\n" + text).find("\n" + heading + "\n");
  if (begin == std::string::npos) return "";
  const std::size_t level = heading.find(' ');
  std::istringstream lines(text.substr(begin));
  std::string part, line;
  std::getline(lines, line);
  for (bool code = false; std::getline(lines, line);) {
    if (line.starts_with("```")) code = !code;
    const std::size_t hashes = std::min(line.find_first_not_of('#'), line.size());
    if (!code && hashes > 0 && hashes <= level) break;
    part += line + '\n';
  }
  return part;
}

/// All Markdown files but those of build folders.
inline std::vector<std::string> files() {
  std::vector<std::string> found;
  for (auto entry = fs::recursive_directory_iterator(root()); entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory() && (name.starts_with("build") || name.starts_with(".")))
      entry.disable_recursion_pending();
    if (name.ends_with(".md")) found.push_back(entry->path().lexically_relative(root()).generic_string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Targets of [text](target) that are files of the repository.
inline std::vector<std::string> links(const std::string& text) {
  static const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  std::vector<std::string> targets;
  for (std::sregex_iterator match(text.begin(), text.end(), link), end; match != end; ++match)
    if ((*match)[1].str().find("://") == std::string::npos) targets.push_back((*match)[1]);
  return targets;
}

/// Compares what stands between the markers <!-- generated: name --> and <!-- end --> with `text`; UPDATE_GOLDENS=1
/// writes it instead.
inline void check_generated(const std::string& file, const std::string& name, const std::string& table) {
  const std::string text = "\n" + table + "\n";
  std::string whole = read(root() / file);
  const std::string opening = "<!-- generated: " + name + " -->\n", closing = "<!-- end -->";
  const std::size_t begin = whole.find(opening);
  REQUIRE_MESSAGE(begin != std::string::npos, file, " has no part ", opening);
  const std::size_t from = begin + opening.size(), to = whole.find(closing, from);
  REQUIRE_MESSAGE(to != std::string::npos, file, ": the part ", name, " has no end");
  const char* update = std::getenv("UPDATE_GOLDENS");
  if (update && std::string(update) == "1")
    std::ofstream(root() / file, std::ios::binary) << whole.replace(from, to - from, text);
  else
    CHECK_MESSAGE((whole.substr(from, to - from) == text), file, ": the part \"", name,
                  "\" is stale; UPDATE_GOLDENS=1 writes it anew");
}

}  // namespace weir::markdown
