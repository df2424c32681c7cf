// What a feed must hold before a program reads it. All complaints are Error(invalid_data) with the input's name and,
// where one row is at fault, its number.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/session.hpp"

namespace weir {

/// Rows of the feed, the same for all of its inputs, which are among the model's.
std::int64_t row_count(const std::vector<std::string>& inputs, const Feed& feed);

/// All that the program reads is there, with `count` rows of its shape and type.
void check_feed_shapes(const Program& program, const Feed& feed, std::int64_t count);

/// And: masks hold 0 and 1, classes are in their range, what training reads is finite. first: the number of the feed's
/// first row, where it is a slice.
void check_feed(const Program& program, const Feed& feed, std::int64_t count, std::int64_t first);

/// Rows [first, first + count) of each view.
Feed slice_feed(const Feed& feed, std::int64_t first, std::int64_t count);

}  // namespace weir
