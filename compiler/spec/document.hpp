// The file as a tree of JSON values, each with its place in the text. Knows JSON, comments and limits, and nothing of
// weir's format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/diagnostic.hpp"

namespace weir {

struct Member;

/// A JSON value. An integer is a literal without fraction and exponent that fits 64 bits: 3.0 is a number, not an
/// integer.
struct Element {
  enum class Kind { null, flag, integer, number, text, list, object } kind = Kind::null;
  bool flag = false;
  std::int64_t integer = 0;
  double number = 0;  ///< finite; set for integers too
  std::string text;
  std::vector<Element> items;
  std::vector<Member> members;  ///< in file order, keys unique
  Place place;                  ///< line 0: from the command line

  bool is(Kind other) const { return kind == other; }
  bool is_number() const { return kind == Kind::number || kind == Kind::integer; }
  const Element* find(std::string_view key) const;  ///< of an object; null where there is none
  Element* find(std::string_view key);
};

struct Member {
  std::string key;
  Place place;  ///< of the key
  Element value;
};

/// Reads the whole text. Nothing where it is no JSON within the limits; then diagnostics has the reason and its place.
/// A key that is there twice is reported and the first one counts.
std::optional<Element> parse_document(std::string_view text, Diagnostics& diagnostics);

/// A key that means nothing to weir: `$schema`, `$comment` and those that start with `x-`.
bool is_free_key(std::string_view key);

/// Compact JSON in the order of the file, without free keys. Parsing it gives the same tree, except for places.
std::string print(const Element& element);

/// A few words for a message: `"same"`, `3`, `an object`, `a list`.
std::string describe(const Element& element);

/// "text" in quotes for a message: control characters escaped, cut when long.
std::string quote(std::string_view text);

/// The parent's JSON pointer and one more step.
std::string pointer_to(const std::string& parent, std::string_view step);

}  // namespace weir
