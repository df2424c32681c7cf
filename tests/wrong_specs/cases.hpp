// Reads the corpus of wrong specifications; json.txt says how a case is written.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wrong_specs {

struct Expected {
  std::string code, part;
  int line = 0, column = 0;
};

struct Case {
  std::string file, title, text;
  std::vector<Expected> expected;
  std::vector<std::string> printed;  ///< must stand in the printed diagnostics
};

inline std::filesystem::path folder() { return std::filesystem::path(WEIR_SOURCE_DIR) / "tests" / "wrong_specs"; }

inline std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string base() { return read(folder() / "base.weir.json"); }

/// Replaces the only occurrence of a part.
inline std::string replaced(const std::string& text, const std::string& part, const std::string& by) {
  const auto at = text.find(part);
  if (part.empty() || at == std::string::npos) throw std::runtime_error("not in the text: " + part);
  if (text.find(part, at + 1) != std::string::npos) throw std::runtime_error("more than once in the text: " + part);
  return text.substr(0, at) + by + text.substr(at + part.size());
}

/// \n, \t, \\ and \xNN.
inline std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char what = text[++i];
    if (what == 'x')
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)), i += 2;
    else
      out += what == 'n' ? '\n' : what == 't' ? '\t' : what;
  }
  return out;
}

/// Takes the marks out of the text and gives their places, columns in characters, to the expected diagnostics.
inline void place(Case& wrong) {
  static const std::string mark = "«";
  std::string clean;
  std::size_t found = 0;
  int line = 1, column = 1;
  for (std::size_t i = 0; i < wrong.text.size(); ++i) {
    if (wrong.text.compare(i, mark.size(), mark) == 0) {
      if (found == wrong.expected.size())
        throw std::runtime_error(wrong.title + ": more marks than expected diagnostics");
      wrong.expected[found].line = line;
      wrong.expected[found++].column = column;
      i += mark.size() - 1;
      continue;
    }
    const char c = wrong.text[i];
    clean += c;
    if (c == '\n')
      ++line, column = 1;
    else if (i + 1 == wrong.text.size() || (static_cast<unsigned char>(wrong.text[i + 1]) & 0xC0) != 0x80 ||
             wrong.text.compare(i + 1, mark.size(), mark) == 0)
      ++column;
  }
  if (found != wrong.expected.size()) throw std::runtime_error(wrong.title + ": fewer marks than expected diagnostics");
  wrong.text = std::move(clean);
}

inline std::vector<Case> read_file(const std::filesystem::path& path, const std::string& base_text) {
  std::ifstream file(path);
  std::vector<Case> cases;
  std::string whole, part, line;
  const auto finish = [&] {
    if (cases.empty()) return;
    if (!whole.empty()) cases.back().text = whole.substr(0, whole.size() - 1);
    whole.clear();
    place(cases.back());
  };
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("case: ")) {
      finish();
      cases.push_back({path.filename().string(), line.substr(6), base_text, {}, {}});
      continue;
    }
    const std::string rest = line.size() > 2 ? line.substr(2) : "";
    Case& now = cases.at(cases.size() - 1);
    switch (line[0]) {
      case '-':
        part = unescaped(rest);
        break;
      case '+':
        now.text = replaced(now.text, part, unescaped(rest));
        break;
      case '|':
        whole += unescaped(rest) + "\n";
        break;
      case '=':
        now.expected.push_back({rest.substr(0, 5), rest.substr(6)});
        break;
      case '~':
        now.printed.push_back(rest);
        break;
      default:
        throw std::runtime_error(path.string() + ": " + line);
    }
  }
  finish();
  return cases;
}

inline std::vector<Case> read_all() {
  std::vector<Case> all;
  const std::string text = base();
  for (const char* name : {"json.txt", "form.txt", "graph.txt", "loss.txt", "train.txt"})
    for (Case& wrong : read_file(folder() / name, text)) all.push_back(std::move(wrong));
  return all;
}

}  // namespace wrong_specs
