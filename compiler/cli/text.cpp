#include "compiler/cli/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace weir::cli {

Json json_number(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (std::abs(value) > std::numeric_limits<float>::max()) return value;
  const auto single = static_cast<float>(value);
  if (single == 0 && std::signbit(single)) return -0.0;
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, single).ptr;
  double shortest = 0;
  std::from_chars(digits, end, shortest);
  const bool whole = shortest == std::floor(shortest) && std::abs(shortest) < 1e9;
  if (whole) return static_cast<std::int64_t>(shortest);
  return shortest;
}

std::string with_separators(std::int64_t count) {
  std::string text = std::to_string(count);
  const std::ptrdiff_t first = count < 0 ? 1 : 0;
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > first; at -= 3)
    text.insert(static_cast<std::size_t>(at), ",");
  return text;
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string number_text(double value) { return std::isnan(value) ? "nan" : fmt::format("{:.4g}", value); }

std::string duration_text(double seconds) {
  const auto whole = std::lround(std::clamp(seconds, 0.0, 1e9));
  if (whole >= 3600) return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string table_text(const std::vector<std::vector<std::string>>& rows, std::string_view alignment) {
  std::vector<std::size_t> widths(alignment.size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - width_of(row[i]), ' ');
      text += (i ? "  " : "") + (alignment[i] == 'r' ? gap + row[i] : row[i] + gap);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace weir::cli
