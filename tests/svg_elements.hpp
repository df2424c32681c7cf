// Reads our drawings back, strictly: what is not well-formed, or refers to what we do not write, throws.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weir {

struct Tag {
  std::string name;
  std::map<std::string, std::string> attributes;
};

inline const std::vector<std::pair<std::string, std::string>> references{
    {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&amp;", "&"}};

inline std::string unescaped(std::string text) {
  for (const auto& reference : references)
    for (std::size_t at = 0; (at = text.find(reference.first, at)) != std::string::npos; ++at)
      text.replace(at, reference.first.size(), reference.second);
  return text;
}

/// No reference but the four that we write; throws on anything that is no text.
inline void check_text(const std::string& text) {
  for (std::size_t at = text.find('&'); at != std::string::npos; at = text.find('&', at + 1)) {
    bool known = false;
    for (const auto& reference : references)
      known = known || text.compare(at, reference.first.size(), reference.first) == 0;
    if (!known) throw std::runtime_error("a bare & in: " + text);
  }
}

/// Every element in order; throws where the document is not well-formed.
inline std::vector<Tag> elements(const std::string& xml) {
  std::vector<Tag> all;
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what + " near: " + xml.substr(at, 80));
  };
  while (at < xml.size()) {
    const std::size_t next = xml.find('<', at);
    check_text(xml.substr(at, next - at));
    if (next == std::string::npos) break;
    at = next + 1;
    const std::size_t end = xml.find('>', at);
    require(end != std::string::npos, "an open tag");
    std::string inside = xml.substr(at, end - at);
    at = end + 1;
    if (inside[0] == '/') {
      require(!open.empty() && open.back() == inside.substr(1), "closes another tag: " + inside);
      open.pop_back();
      continue;
    }
    const bool empty = inside.back() == '/';
    if (empty) inside.pop_back();
    std::size_t word = inside.find(' ');
    Tag tag{inside.substr(0, word), {}};
    while (word != std::string::npos && (word = inside.find_first_not_of(' ', word)) != std::string::npos) {
      const std::size_t equals = inside.find("=\"", word), quote = inside.find('"', equals + 2);
      require(equals != std::string::npos && quote != std::string::npos, "an attribute without value: " + inside);
      const std::string name = inside.substr(word, equals - word),
                        value = inside.substr(equals + 2, quote - equals - 2);
      require(name.find_first_of(" \"=") == std::string::npos && value.find('<') == std::string::npos,
              "a wrong attribute: " + inside);
      check_text(value);
      require(tag.attributes.emplace(name, unescaped(value)).second, "an attribute twice: " + inside);
      word = quote + 1;
      require(word == inside.size() || inside[word] == ' ', "attributes that touch: " + inside);
    }
    all.push_back(tag);
    if (!empty) open.push_back(tag.name);
  }
  require(open.empty(), "a tag that is never closed");
  return all;
}

}  // namespace weir
