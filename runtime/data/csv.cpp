#include "runtime/data/csv.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include <fmt/format.h>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::size_t longest_cell = 65536;
constexpr std::size_t most_columns = 100000;

using Row = std::vector<std::string>;

/// Splits the bytes into rows of cells.
class RowReader {
 public:
  explicit RowReader(ByteReader& reader) : reader_(reader) {
    const auto start = reader_.peek(3);
    if (start.size() == 3 && std::memcmp(start.data(), "\xEF\xBB\xBF", 3) == 0)
      for (int i = 0; i < 3; ++i) reader_.get();
  }

  /// False at the end of the file. Cells keep their capacity from row to row.
  bool next(Row& row) {
    line_ = next_line_;
    std::size_t count = 0;
    int end = ',';
    while (end == ',') {
      if (count == 0 && at_end()) return false;
      if (count == most_columns) fail(fmt::format("has more than {} cells", most_columns));
      if (count == row.size()) row.emplace_back();
      end = read_cell(row[count++]);
    }
    row.resize(count);
    return true;
  }

  /// Of the row that was read last, from 1.
  std::int64_t line() const { return line_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_data, fmt::format("{}:{}: {}", reader_.name(), line_, what));
  }

 private:
  bool at_end() { return reader_.peek(1).empty(); }

  /// Returns what ended the cell: ',', '\n' or -1.
  int read_cell(std::string& cell) {
    cell.clear();
    const auto start = reader_.peek(1);
    if (!start.empty() && start[0] == std::byte{'"'}) return read_quoted(cell);
    int c = reader_.get();
    while (c != ',' && c != '\n' && c >= 0) {
      append(cell, c);
      c = reader_.get();
    }
    return finish(cell, c);
  }

  int read_quoted(std::string& cell) {
    reader_.get();
    for (int c = reader_.get();; c = reader_.get()) {
      if (c < 0) fail("a quoted cell does not end");
      if (c == '"' && (c = reader_.get()) != '"') {
        if (c == '\r') c = reader_.get();
        if (c != ',' && c != '\n' && c >= 0) fail("something follows the closing quote of a cell");
        next_line_ += c == '\n';
        return c;
      }
      next_line_ += c == '\n';
      append(cell, c);
    }
  }

  int finish(std::string& cell, int end) {
    if (end != ',' && cell.ends_with('\r')) cell.pop_back();
    next_line_ += end == '\n';
    return end;
  }

  void append(std::string& cell, int c) {
    if (cell.size() == longest_cell) fail(fmt::format("a cell is longer than {} bytes", longest_cell));
    cell.push_back(static_cast<char>(c));
  }

  ByteReader& reader_;
  std::int64_t line_ = 1, next_line_ = 1;
};

std::string_view trimmed(std::string_view cell) {
  const std::size_t first = cell.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return cell.substr(first, cell.find_last_not_of(" \t") - first + 1);
}

template <class Number>
std::errc parse_whole(std::string_view text, Number& number) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status == std::errc() && end != text.data() + text.size()) return std::errc::invalid_argument;
  return status;
}

bool is_number(std::string_view cell) {
  double number = 0;
  return parse_whole(trimmed(cell), number) == std::errc();
}

/// Cells as they come: integers until the first that is none, doubles from then on. Both take eight bytes.
class Numbers {
 public:
  void add(std::string_view cell, const RowReader& rows, const std::string& column) {
    const std::string_view text = trimmed(cell);
    if (text.empty()) rows.fail(fmt::format("column \"{}\" is empty; every cell needs a number", column));
    std::int64_t integer = 0;
    if (integral_ && parse_whole(text, integer) == std::errc()) return append(integer);
    double number = 0;
    const std::errc status = parse_whole(text, number);
    if (status == std::errc::result_out_of_range)
      rows.fail(fmt::format("column \"{}\" holds {}, which is outside the range of a double", column, text));
    if (status != std::errc())
      rows.fail(fmt::format("column \"{}\" holds \"{}\", which is not a number", column, text));
    if (!std::isfinite(number)) rows.fail(fmt::format("column \"{}\" holds \"{}\", which is not finite", column, text));
    if (integral_) turn_into_doubles();
    append(number);
  }

  SourceType type() const { return integral_ ? SourceType::i64 : SourceType::f64; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  template <class Number>
  void append(Number number) {
    const auto* raw = reinterpret_cast<const std::byte*>(&number);
    bytes_.insert(bytes_.end(), raw, raw + sizeof number);
  }

  void turn_into_doubles() {
    for (std::size_t at = 0; at < bytes_.size(); at += sizeof(double)) {
      std::int64_t integer = 0;
      std::memcpy(&integer, bytes_.data() + at, sizeof integer);
      const auto number = static_cast<double>(integer);
      std::memcpy(bytes_.data() + at, &number, sizeof number);
    }
    integral_ = false;
  }

  std::vector<std::byte> bytes_;
  bool integral_ = true;
};

using ColumnIndex = std::unordered_map<std::string, std::size_t>;

ColumnIndex index_header(const Row& header, const RowReader& rows) {
  if (std::all_of(header.begin(), header.end(), [](const std::string& cell) { return is_number(cell); }))
    rows.fail("the first line holds only numbers; a CSV file needs a header line with the names of its columns");
  ColumnIndex index;
  for (std::size_t i = 0; i < header.size(); ++i)
    if (!index.emplace(trimmed(header[i]), i).second)
      rows.fail(fmt::format("the header names column \"{}\" twice", trimmed(header[i])));
  return index;
}

std::string listed(const Row& header) {
  constexpr std::size_t shown = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(header.size(), shown); ++i) text += (i ? ", " : "") + header[i];
  return header.size() > shown ? fmt::format("{}, … ({} columns)", text, header.size()) : text;
}

/// A chosen column: its name and its place in a row.
struct Column {
  std::string name;
  std::size_t place;
};

std::vector<Column> choose_columns(const Row& header, const std::vector<std::string>& wanted, const RowReader& rows) {
  const ColumnIndex index = index_header(header, rows);
  std::vector<Column> chosen;
  if (wanted.empty())
    for (std::size_t i = 0; i < header.size(); ++i) chosen.push_back({std::string(trimmed(header[i])), i});
  for (const std::string& name : wanted) {
    const auto found = index.find(name);
    if (found == index.end()) rows.fail(fmt::format("there is no column \"{}\"; there are {}", name, listed(header)));
    chosen.push_back({name, found->second});
  }
  return chosen;
}

bool is_blank(const Row& row) { return row.size() == 1 && trimmed(row[0]).empty(); }

/// Empty lines at the end are no rows; elsewhere they are a mistake.
bool only_blank_rows_follow(RowReader& rows, Row& row) {
  while (rows.next(row))
    if (!is_blank(row)) return false;
  return true;
}

}  // namespace

SourceArray read_csv(ByteReader& reader, const std::vector<std::string>& columns) {
  RowReader rows(reader);
  Row row;
  if (!rows.next(row)) rows.fail("the file is empty; a CSV file needs a header line");
  const std::vector<Column> chosen = choose_columns(row, columns, rows);
  const std::size_t width = row.size();
  Numbers numbers;
  std::int64_t count = 0;
  while (rows.next(row)) {
    if (is_blank(row)) {
      const RowReader at_blank = rows;
      if (only_blank_rows_follow(rows, row)) break;
      at_blank.fail(fmt::format("is an empty line; every row needs {} cells", width));
    }
    if (row.size() != width) rows.fail(fmt::format("has {} cells, the header has {}", row.size(), width));
    for (const Column& column : chosen) numbers.add(row[column.place], rows, column.name);
    ++count;
  }
  if (count == 0) rows.fail("there is a header but no row");
  return {numbers.type(), {count, static_cast<std::int64_t>(chosen.size())}, numbers.take(), reader.name()};
}

}  // namespace weir
