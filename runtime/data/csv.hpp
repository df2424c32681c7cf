// Comma-separated numbers with a header line (RFC 4180 quoting, LF or CRLF, an optional UTF-8 byte order mark).
// The result is [rows, columns]: i64 if every chosen cell is an integer, else f64. Other columns may hold anything.
#pragma once

#include "runtime/data/array.hpp"

namespace weir {

/// `columns` by name, in this order; empty takes all. An empty, non-numeric or non-finite cell, a row of another length
/// and a duplicate name are Error(invalid_data) with file:line and the column.
SourceArray read_csv(ByteReader& reader, const std::vector<std::string>& columns);

}  // namespace weir
