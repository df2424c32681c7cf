// What a user is told about a file: a place, a code, a reason, a way out. All of a file's mistakes are collected in one
// run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// Where in the source text. line and column count from 1 (column in characters); line 0: no place in the text (a flag,
/// a default).
struct Place {
  int line = 0;
  int column = 0;
  int length = 1;
  std::string pointer;  ///< JSON pointer, "/layers/2/filters"
};

enum class Severity { error, warning };

struct Diagnostic {
  Severity severity = Severity::error;
  std::string code;  ///< "E0203", "W0301": stable; compiler/diagnostic_codes.hpp lists them all with an article each
  std::string message;
  Place place;
  std::vector<std::string> notes;
  std::string help;
};

class Diagnostics {
 public:
  /// source: shown under the message with a caret; file: as the user named it.
  Diagnostics(std::string file, std::string source) : file_(std::move(file)), source_(std::move(source)) {}
  Diagnostics() = default;

  Diagnostic& error(std::string_view code, Place place, std::string message);
  Diagnostic& warning(std::string_view code, Place place, std::string message);

  const std::vector<Diagnostic>& all() const { return list_; }
  bool has_errors() const;
  std::size_t error_count() const;
  const std::string& file() const { return file_; }

  /// "file:line:col: error: message [code]", the source line, a caret, notes, help; sorted by place; at most `limit`
  /// errors and as many warnings.
  std::string to_text(std::size_t limit = 20) const;
  /// One JSON object a line: {code, severity, message, file, span, pointer, notes, help}.
  std::string to_json_lines() const;

 private:
  std::string file_, source_;
  std::vector<Diagnostic> list_;
};

/// The nearest of `candidates` to `word` (edit distance at most a third of its length, swaps count one), or "".
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// Bytes of the UTF-8 sequence that starts at `at`: 1 to 4, or 0 where there is no valid one.
std::size_t utf8_sequence(std::string_view text, std::size_t at);

}  // namespace weir
