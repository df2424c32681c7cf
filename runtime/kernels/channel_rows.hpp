// Images as rows of channels, for kernels that take each channel by itself. Channels stand side by side in vectors,
// whatever the layout and however few there are: several rows of memory make one long row whose lanes fill vectors.
//   "nhwc", "nc": all pixels are one run of rows of all channels
//   "nChw16c":    each image and block of channels is a run of rows of 16
// A run is cut into pieces of a few long rows, the unit of work; the borders depend on the shape alone.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

struct ChannelPiece {
  std::int64_t begin;       ///< its first entry in memory
  std::int64_t rows, rest;  ///< long rows, and entries behind them that fill no long row
  std::int64_t lane;        ///< its first lane among those of all channels
};

struct ChannelRange {
  std::int64_t first, last;
};

class ChannelRows {
 public:
  explicit ChannelRows(const Shape& shape) : channels_(shape.dims.back()) {
    const std::int64_t pixels = element_count(shape.dims) / channels_, block = block_of(shape);
    width_ = block ? block : channels_;
    groups_ = (channels_ + width_ - 1) / width_;
    runs_ = block ? shape.dims[0] * groups_ : 1;
    run_rows_ = pixels * groups_ / runs_;
    std::int64_t together = whole / std::gcd(width_, whole);
    while (together * width_ < least_lanes) together *= 2;
    lanes_ = together * width_;
    long_rows_ = run_rows_ / together;
    rest_ = (run_rows_ - long_rows_ * together) * width_;
    piece_rows_ = std::clamp<std::int64_t>(entries_in_piece / lanes_, 16, 64);
    pieces_in_run_ = std::max<std::int64_t>(1, (long_rows_ + piece_rows_ - 1) / piece_rows_);
    if (runs_ == 1 && pieces_in_run_ > 2) {  // a number that two and four threads share evenly
      pieces_in_run_ = (pieces_in_run_ + 3) / 4 * 4;
      piece_rows_ = (long_rows_ + pieces_in_run_ - 1) / pieces_in_run_;
      pieces_in_run_ = (long_rows_ + piece_rows_ - 1) / piece_rows_;
    }
    rows_of_channel_ = pixels;
  }

  /// Channels last, or in blocks at the end.
  static void check(const Recipe& recipe, std::string_view role) {
    const Shape& shape = recipe.operand(role).shape;
    const bool channels_last = shape.axes.size() > 1 && shape.axes[0] == 'n' && shape.axes.back() == 'c';
    if (!channels_last) reject(recipe, std::string(role) + " must have axes \"n…c\"");
    if (!is_taken(shape))
      reject(recipe, std::string(role) + " must be in the layout \"" + shape.axes + "\" or blocked");
  }
  static bool is_taken(const Shape& shape) { return shape.layout == shape.axes || block_of(shape) > 0; }

  std::int64_t channels() const { return channels_; }
  std::int64_t padded_channels() const { return groups_ * width_; }
  std::int64_t rows_of_channel() const { return rows_of_channel_; }
  std::int64_t width() const { return width_; }  ///< channels that stand side by side in memory
  std::int64_t lanes() const { return lanes_; }  ///< of a long row
  std::int64_t all_lanes() const { return groups_ * lanes_; }
  std::int64_t pieces() const { return runs_ * pieces_in_run_; }
  std::int64_t entries() const { return runs_ * run_rows_ * width_; }

  ChannelPiece piece(std::int64_t index) const {
    const std::int64_t run = index / pieces_in_run_, first = index % pieces_in_run_ * piece_rows_;
    const bool last = index % pieces_in_run_ == pieces_in_run_ - 1;
    return {run * run_rows_ * width_ + first * lanes_, std::min(piece_rows_, long_rows_ - first), last ? rest_ : 0,
            run % groups_ * lanes_};
  }

  /// How many threads of a team are worth their waking for these images.
  int team(int threads) const { return entries() < worth_a_team ? 1 : threads; }

  /// What a thread of a team has of the channels: whole lines of the cache.
  ChannelRange channels_of(int index, int team) const {
    const std::int64_t lines = (channels_ + whole - 1) / whole;
    return {lines * index / team * whole, std::min(channels_, lines * (index + 1) / team * whole)};
  }

  /// A value of each of these channels, which are counted from channel 0, for each of their lanes.
  void spread(ChannelRange range, const float* channels, std::vector<float>& lanes) const {
    for_each_group(range, [&](std::int64_t first, std::int64_t count, std::int64_t lane) {
      for (std::int64_t end = lane + lanes_; lane < end; lane += width_)
        std::copy_n(channels + first, count, lanes.data() + lane);
    });
  }
  /// Adds the values of all lanes of each of these channels to its own.
  void add(ChannelRange range, const double* lanes, std::vector<double>& channels) const {
    for_each_group(range, [&](std::int64_t first, std::int64_t count, std::int64_t lane) {
      for (std::int64_t end = lane + lanes_; lane < end; lane += width_)
        dispatch(AddUp{}, lanes + lane, channels.data() + first, count);
    });
  }
  /// The first entry of each channel.
  void first_row(const float* values, std::vector<float>& channels) const {
    for (std::int64_t group = 0; group < groups_; ++group)
      std::copy_n(values + group * run_rows_ * width_, width_, channels.data() + group * width_);
  }

  /// body(piece) for what this thread of a team has: the last first, because they were read last and may still be near.
  template <class Body>
  void for_each_of(int index, int team, Body&& body) const {
    for (std::int64_t at = pieces() * (index + 1) / team; at-- > pieces() * index / team;) body(piece(at));
  }

 private:
  static constexpr std::int64_t whole = 16, least_lanes = 64, entries_in_piece = 1 << 14, worth_a_team = 1 << 15;

  struct AddUp {
    WEIR_INLINE void operator()(const double* from, double* to, std::int64_t count) const {
      WEIR_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
    }
  };

  /// body(first, count, lane) for the channels of each group in the range: the first of them, and its first lane.
  template <class Body>
  void for_each_group(ChannelRange range, Body&& body) const {
    for (std::int64_t first = range.first; first < range.last;) {
      const std::int64_t group = first / width_, last = std::min(range.last, (group + 1) * width_);
      body(first, last - first, group * lanes_ + first % width_);
      first = last;
    }
  }

  /// Of "nChw16c" 16; 0 where the layout is another.
  static std::int64_t block_of(const Shape& shape) {
    const std::string start = "nC" + shape.axes.substr(1, shape.axes.size() - 2), &word = shape.layout;
    if (!word.starts_with(start) || word.back() != 'c') return 0;
    const std::string digits = word.substr(start.size(), word.size() - start.size() - 1);
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos) return 0;
    return std::stoi(digits);
  }

  std::int64_t channels_, width_, groups_, runs_, run_rows_, lanes_, long_rows_, rest_, piece_rows_, pieces_in_run_,
      rows_of_channel_;
};

/// Two sums for each channel, in double over fixed shares of the pieces, so that threads change no bit. Made in two
/// phases: a thread adds up pieces, then all shares' sums of some channels.
class ChannelSums {
 public:
  explicit ChannelSums(const ChannelRows& rows)
      : first(static_cast<std::size_t>(rows.channels())),
        second(first.size()),
        rows_(rows),
        pieces_(pieces_in_share(rows)),
        shares_((rows.pieces() + pieces_ - 1) / pieces_),
        sums_(static_cast<std::size_t>(shares_ * 2 * rows.all_lanes())) {}

  /// body(piece, first, second) adds to the sums of the piece's lanes.
  template <class Body>
  void add_pieces(int index, int team, Body&& body) {
    const std::int64_t lanes = rows_.all_lanes();
    for (std::int64_t share = shares_ * index / team; share < shares_ * (index + 1) / team; ++share) {
      double* const sums = sums_.data() + share * 2 * lanes;
      std::fill_n(sums, 2 * lanes, 0.0);
      for (std::int64_t at = share * pieces_; at < std::min(rows_.pieces(), (share + 1) * pieces_); ++at) {
        const ChannelPiece piece = rows_.piece(at);
        body(piece, sums + piece.lane, sums + lanes + piece.lane);
      }
    }
  }

  void add_shares(ChannelRange range) {
    for (std::vector<double>* to : {&first, &second})
      std::fill_n(to->data() + range.first, range.last - range.first, 0.0);
    for (std::int64_t share = 0; share < shares_; ++share) {
      const double* const sums = sums_.data() + share * 2 * rows_.all_lanes();
      rows_.add(range, sums, first);
      rows_.add(range, sums + rows_.all_lanes(), second);
    }
  }

  std::vector<double> first, second;  ///< by channel

 private:
  static constexpr std::int64_t entries_in_share = 1 << 14, most_shares = 32, entries_for_a_sum = 16;

  /// An even number of shares, that two threads have the same work, or one.
  static std::int64_t pieces_in_share(const ChannelRows& rows) {
    const std::int64_t shares = std::clamp<std::int64_t>(
        std::min(rows.entries() / entries_in_share, rows.entries() / (entries_for_a_sum * rows.all_lanes())), 1,
        most_shares);
    std::int64_t pieces = (rows.pieces() + shares - 1) / shares;
    while (pieces < rows.pieces() && (rows.pieces() + pieces - 1) / pieces % 2 == 1) ++pieces;
    return pieces;
  }

  const ChannelRows& rows_;
  std::int64_t pieces_, shares_;
  std::vector<double> sums_;
};

/// Vectors from memory and back, one by one: in one copy they would go over the stack.
template <int count, class Vector>
WEIR_INLINE void load(const float* from, Vector (&to)[count]) {
  WEIR_UNROLL
  for (int i = 0; i < count; ++i) std::memcpy(&to[i], from + i * static_cast<int>(sizeof(Vector) / 4), sizeof(Vector));
}
template <int count, class Vector>
WEIR_INLINE void store(const Vector (&from)[count], float* to) {
  WEIR_UNROLL
  for (int i = 0; i < count; ++i) std::memcpy(to + i * static_cast<int>(sizeof(Vector) / 4), &from[i], sizeof(Vector));
}

/// Lanes that belong to the same channel of `width` are added up in the first of them. How many are left: all of them
/// where the lanes are not whole rows of channels.
WEIR_INLINE std::int64_t fold_lanes(float* lanes, std::int64_t count, std::int64_t width) {
  if (count % width != 0) return count;
  for (std::int64_t lane = width; lane < count; lane += width)
    for (std::int64_t i = 0; i < width; ++i) lanes[i] += lanes[lane + i];
  return width;
}

/// Asks for the same place in the piece behind this one: rows are read, and written, a strip at a time, which no
/// machine foresees. Measured: a quarter of the time of a normalization of 3 MB.
template <int count, class Vector>
WEIR_INLINE void fetch_ahead(const float* from, std::int64_t piece) {
  WEIR_UNROLL
  for (int i = 0; i < count; ++i)
    if (i * sizeof(Vector) % 64 == 0) __builtin_prefetch(from + piece + i * static_cast<int>(sizeof(Vector) / 4), 0, 2);
}

/// Loop<width> over some rows, with vectors as wide as this machine's.
template <template <int> class Loop, class Rows>
void run_widest(const Rows& rows) {
#if defined(__x86_64__)
  if (instructions() == Instructions::avx512) return call_avx512(Loop<16>{}, rows);
#endif
  dispatch(Loop<8>{}, rows);
}

/// body(lane, count) for all lanes of a long row, a few vectors at a time. body is a type with an always-inline
/// template operator: strip<vectors>(lane).
template <int width, class Strips>
WEIR_INLINE void for_each_strip(std::int64_t lanes, const Strips& strips) {
  std::int64_t lane = 0;
  for (; lane + 4 * width <= lanes; lane += 4 * width) strips.template strip<4>(lane);
  for (; lane + 2 * width <= lanes; lane += 2 * width) strips.template strip<2>(lane);
  for (; lane < lanes; lane += width) strips.template strip<1>(lane);
}

}  // namespace weir::kernels
