// Where the tokens of a JSON text start and end, in lines and columns. The JSON library says what it read, these say
// where it stood.
#pragma once

#include <algorithm>
#include <string_view>

#include "compiler/diagnostic.hpp"

namespace weir {

inline bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// Turns offsets into lines and columns (in characters). Offsets must not decrease, so a whole file costs one walk.
class Locator {
 public:
  explicit Locator(std::string_view text) : text_(text) {}

  Place at(std::size_t offset) {
    for (; offset_ < offset && offset_ < text_.size(); ++offset_) {
      if (text_[offset_] == '\n') {
        ++line_;
        column_ = 1;
      } else if (offset_ + 1 == text_.size() || !is_continuation(text_[offset_ + 1])) {
        ++column_;
      }
    }
    return {line_, column_, 1, ""};
  }

 private:
  std::string_view text_;
  std::size_t offset_ = 0;
  int line_ = 1, column_ = 1;
};

/// Finds the borders of the tokens that the JSON parser reports one after the other. It only ever sees text that the
/// parser took.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}

  /// Where the next token starts: behind white space, comments, commas and colons.
  std::size_t start() {
    for (skip_blanks(); offset_ < text_.size() && (text_[offset_] == ',' || text_[offset_] == ':'); skip_blanks())
      ++offset_;
    return offset_;
  }

  /// Moves behind the token that starts here.
  std::size_t end() {
    if (offset_ >= text_.size()) return offset_;
    const char first = text_[offset_];
    if (first == '"') return offset_ = end_of_string();
    if (std::string_view("{}[],:").find(first) != std::string_view::npos) return ++offset_;
    if (first == '-' || is_digit(first)) return offset_ = end_of_number();
    while (offset_ < text_.size() && !is_space(text_[offset_]) &&
           std::string_view("{}[],:\"/").find(text_[offset_]) == std::string_view::npos)
      ++offset_;
    return offset_;
  }

  /// The start of the token that holds the byte before `offset`, counting commas and colons as tokens. word: of the
  /// last token up to there that is no bracket, comma or colon.
  std::size_t start_of_token_before(std::size_t offset, bool word = false) {
    std::size_t start = offset_;
    for (skip_blanks(); offset_ < offset && offset_ < text_.size(); skip_blanks()) {
      if (!word || std::string_view("{}[],:").find(text_[offset_]) == std::string_view::npos) start = offset_;
      if (const std::size_t before = offset_; end() == before) break;
    }
    return start;
  }

  std::size_t position() const { return offset_; }
  std::size_t last_comment() const { return last_comment_; }  ///< start of the last /* */ that was passed

 private:
  void skip_blanks() {
    while (offset_ < text_.size())
      if (is_space(text_[offset_])) {
        ++offset_;
      } else if (text_[offset_] == '/' && offset_ + 1 < text_.size() && text_[offset_ + 1] == '/') {
        while (offset_ < text_.size() && text_[offset_] != '\n' && text_[offset_] != '\r') ++offset_;
      } else if (text_[offset_] == '/' && offset_ + 1 < text_.size() && text_[offset_ + 1] == '*') {
        last_comment_ = offset_;
        const std::size_t end = text_.find("*/", offset_ + 2);
        offset_ = end == std::string_view::npos ? text_.size() : end + 2;
      } else {
        return;
      }
  }

  /// As JSON has it, so 012 is two tokens.
  std::size_t end_of_number() const {
    std::size_t at = offset_;
    const auto here = [&](std::string_view any) {
      return at < text_.size() && any.find(text_[at]) != std::string_view::npos;
    };
    const auto digits = [&] {
      while (at < text_.size() && is_digit(text_[at])) ++at;
    };
    if (here("-")) ++at;
    if (here("0"))
      ++at;
    else
      digits();
    if (here(".")) ++at, digits();
    if (!here("eE")) return at;
    ++at;
    if (here("+-")) ++at;
    digits();
    return at;
  }

  std::size_t end_of_string() const {
    std::size_t at = offset_ + 1;
    while (at < text_.size() && text_[at] != '"') at += text_[at] == '\\' ? 2 : 1;
    return std::min(at + 1, text_.size());
  }

  std::string_view text_;
  std::size_t offset_ = 0, last_comment_ = 0;
};

}  // namespace weir
