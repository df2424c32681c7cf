#include "compiler/diagnostic.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir {
namespace {

const char* word_of(Severity severity) { return severity == Severity::error ? "error" : "warning"; }

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string_view line_of(std::string_view source, int line) {
  for (; line > 1; --line) {
    const std::size_t end = source.find('\n');
    if (end == std::string_view::npos) return {};
    source.remove_prefix(end + 1);
  }
  std::string_view text = source.substr(0, source.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

/// Bytes of the first characters of a line, and how many there were: at most `most`.
struct Prefix {
  std::size_t bytes = 0, characters = 0;
};

Prefix prefix_of(std::string_view line, std::size_t most) {
  Prefix prefix;
  for (; prefix.characters < most && prefix.bytes < line.size(); ++prefix.characters)
    prefix.bytes += std::max<std::size_t>(utf8_sequence(line, prefix.bytes), 1);
  return prefix;
}

/// The same number of characters, fit for a terminal: control characters, byte order marks and invalid bytes become
/// '?', tabs one space.
std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_sequence(text, at);
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool control =
        byte < 0x20 || byte == 0x7F || (length == 2 && byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0);
    if (byte == '\t')
      out += ' ';
    else if (length == 0 || control || text.substr(at, length) == "\xEF\xBB\xBF")
      out += '?';
    else
      out += text.substr(at, length);
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

/// The source line and a caret line below it; of a long line, the part around the place.
std::string excerpt(std::string_view source, const Place& place) {
  constexpr std::size_t width = 140, from_the_start = 120, before = 60;
  const std::string_view line = line_of(source, place.line);
  const std::size_t column = prefix_of(line, static_cast<std::size_t>(place.column - 1)).characters;
  const std::size_t begin = column < from_the_start ? 0 : column - before;
  const std::string_view rest = line.substr(prefix_of(line, begin).bytes);
  const Prefix window = prefix_of(rest, width);
  const std::size_t end = begin + window.characters;
  const std::size_t length =
      std::min(static_cast<std::size_t>(std::max(place.length, 1)), std::max(end, column + 1) - column);
  const std::string_view left = begin > 0 ? "…" : "", right = window.bytes < rest.size() ? "…" : "";
  const std::string indent(column - begin + (begin > 0 ? 1 : 0), ' ');
  return fmt::format("{:5} | {}{}{}\n{:5} | {}^{}\n", place.line, left, printable(rest.substr(0, window.bytes)), right,
                     "", indent, std::string(length - 1, '~'));
}

std::string to_text(const Diagnostic& diagnostic, const std::string& file, const std::string& source) {
  const Place& place = diagnostic.place;
  std::string text = file.empty() ? "weir" : file;
  if (place.line > 0) text += fmt::format(":{}:{}", place.line, place.column);
  text += fmt::format(": {}: {} [{}]\n", word_of(diagnostic.severity), diagnostic.message, diagnostic.code);
  if (place.line > 0 && !source.empty()) text += excerpt(source, place);
  for (const std::string& note : diagnostic.notes) text += fmt::format("   note: {}\n", note);
  if (!diagnostic.help.empty()) text += fmt::format("   help: {}\n", diagnostic.help);
  return text;
}

std::vector<const Diagnostic*> sorted(const std::vector<Diagnostic>& list) {
  std::vector<const Diagnostic*> order;
  order.reserve(list.size());
  for (const Diagnostic& diagnostic : list) order.push_back(&diagnostic);
  std::stable_sort(order.begin(), order.end(), [](const Diagnostic* a, const Diagnostic* b) {
    return std::tie(a->place.line, a->place.column) < std::tie(b->place.line, b->place.column);
  });
  return order;
}

std::string summary(std::size_t errors, std::size_t warnings, std::size_t limit, const std::string& code) {
  std::string text;
  if (errors > limit) text += fmt::format("… and {} more\n", counted(errors - limit, "error"));
  if (warnings > limit) text += fmt::format("… and {} more\n", counted(warnings - limit, "warning"));
  if (errors > 0) text += counted(errors, "error");
  if (warnings > 0) text += (errors > 0 ? " and " : "") + counted(warnings, "warning");
  return text + fmt::format("{}. More on a code: weir explain {}\n", errors > 0 ? ", nothing was written" : "", code);
}

/// Damerau-Levenshtein distance (optimal string alignment: a swap of neighbours counts one); anything beyond `most`
/// where it is more than that.
std::size_t distance(std::string_view a, std::string_view b, std::size_t most) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    if (*std::min_element(row.begin(), row.end()) > most && *std::min_element(last.begin(), last.end()) > most) break;
    before_last.swap(last);
    last.swap(row);
  }
  return last.back();
}

/// Capitals are no difference between words: "ReLU" is meant as "relu".
std::string in_lower_case(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

}  // namespace

Diagnostic& Diagnostics::error(std::string_view code, Place place, std::string message) {
  return list_.emplace_back(
      Diagnostic{Severity::error, std::string(code), std::move(message), std::move(place), {}, {}});
}

Diagnostic& Diagnostics::warning(std::string_view code, Place place, std::string message) {
  return list_.emplace_back(
      Diagnostic{Severity::warning, std::string(code), std::move(message), std::move(place), {}, {}});
}

std::size_t Diagnostics::error_count() const {
  return static_cast<std::size_t>(
      std::count_if(list_.begin(), list_.end(), [](const Diagnostic& d) { return d.severity == Severity::error; }));
}

bool Diagnostics::has_errors() const { return error_count() > 0; }

std::string Diagnostics::to_text(std::size_t limit) const {
  std::string text, last_code;
  std::size_t shown_errors = 0, shown_warnings = 0;
  const std::size_t errors = error_count();
  for (const Diagnostic* diagnostic : sorted(list_)) {
    const bool is_error = diagnostic->severity == Severity::error;
    if (++(is_error ? shown_errors : shown_warnings) > limit) continue;
    text += weir::to_text(*diagnostic, file_, source_);
    if (is_error || errors == 0) last_code = diagnostic->code;
  }
  if (list_.empty()) return text;
  return text + summary(errors, list_.size() - errors, limit, last_code);
}

std::string Diagnostics::to_json_lines() const {
  using json = nlohmann::ordered_json;
  std::string text;
  for (const Diagnostic* diagnostic : sorted(list_)) {
    const Place& place = diagnostic->place;
    const json span = {
        {"line", place.line}, {"col", place.column}, {"endLine", place.line}, {"endCol", place.column + place.length}};
    const json line = {{"code", diagnostic->code},
                       {"severity", word_of(diagnostic->severity)},
                       {"message", diagnostic->message},
                       {"file", file_},
                       {"span", place.line > 0 ? span : json(nullptr)},
                       {"pointer", place.pointer},
                       {"notes", diagnostic->notes},
                       {"help", diagnostic->help}};
    text += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  return text;
}

std::string nearest(std::string_view written, const std::vector<std::string>& candidates) {
  const std::string word = in_lower_case(written);
  const std::size_t allowed = word.size() / 3;
  std::string_view best;
  std::size_t best_distance = allowed + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t gap =
        candidate.size() > word.size() ? candidate.size() - word.size() : word.size() - candidate.size();
    if (gap >= best_distance) continue;
    const std::size_t edits = distance(word, in_lower_case(candidate), best_distance - 1);
    if (edits < best_distance) std::tie(best, best_distance) = std::tuple(std::string_view(candidate), edits);
  }
  return std::string(best);
}

std::size_t utf8_sequence(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0), second = byte(1);
  if (at >= text.size()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && second < 0xA0, surrogate = first == 0xED && second > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  const bool outside =
      first < 0xF0 || first > 0xF4 || (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return !outside && tail(1) && tail(2) && tail(3) ? 4 : 0;
}

}  // namespace weir
