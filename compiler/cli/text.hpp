// Numbers and tables for people, and numbers for machines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace weir::cli {

using Json = nlohmann::ordered_json;

/// The shortest number that reads back as the same f32; null where it is not finite. A sum in double beyond f32 stays
/// as it is.
Json json_number(double value);

std::string with_separators(std::int64_t count);  ///< "93,322"
std::string bytes_text(std::uint64_t bytes);      ///< "11.4 MiB"
std::string number_text(double value);            ///< four significant digits
std::string duration_text(double seconds);        ///< "0:12", "1:02:03"

/// Columns as wide as their widest cell; the first row is the heading. `right`: one letter a column, 'r' aligns right.
std::string table_text(const std::vector<std::vector<std::string>>& rows, std::string_view alignment);

/// How many columns the UTF-8 text takes, one a code point.
std::size_t width_of(std::string_view text);

}  // namespace weir::cli
