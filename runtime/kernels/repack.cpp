// Tensors copied into other layouts of the same entries, padding written as zeros: the layouts that the library wants
// of parameters, all of them in one step. f32.
//
// A layout puts an entry at a sum over the axes of a place that depends on one index alone (places_along). So a copy is
// a product of lists, for each axis the runs of indices along which source and result both move by fixed steps, and a
// tile is one run of the axis along which the result lies side by side and one of a second axis: the one along which
// the source does, where that is another (the tile is turned in registers), or else the longest (rows are copied).
// Tiles go in the order of the source, which is read from far away; what is written may wait.
#include <algorithm>
#include <cstring>
#include <deque>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "runtime/kernel.hpp"
#include "runtime/kernels/blocks.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

constexpr std::int64_t piece_floats = 8192;  ///< what a thread takes at once, about; a tile is no larger
constexpr std::int64_t worthwhile = 32768;   ///< floats; fewer are not worth waking a team
/// Floats; so much is written past the caches, which need not read it first: what is read last would not stay in them.
constexpr std::int64_t too_large_to_keep = std::int64_t{1} << 20;

/// Indices of an axis one after the other.
struct Run {
  std::int64_t count, src, src_step, dst, dst_step;  ///< places, in floats
  bool is_real;                                      ///< else padding of the result
};
using Runs = std::vector<Run>;

Runs runs_of(const Shape& src, const Shape& dst, std::size_t axis) {
  const std::vector<std::int64_t> from = places_along(src, axis), to = places_along(dst, axis);
  const auto real = static_cast<std::size_t>(src.dims[axis]);
  Runs runs;
  for (std::size_t begin = 0; begin < to.size();) {
    const bool is_real = begin < real;
    const std::size_t end = is_real ? real : to.size();
    Run run{1, is_real ? from[begin] : 0, 0, to[begin], 0, is_real};
    if (begin + 1 < end) {
      run.src_step = is_real ? from[begin + 1] - from[begin] : 0;
      run.dst_step = to[begin + 1] - to[begin];
    }
    std::size_t next = begin + 1;
    while (next < end && to[next] - to[next - 1] == run.dst_step &&
           (!is_real || from[next] - from[next - 1] == run.src_step))
      ++next;
    run.count = static_cast<std::int64_t>(next - begin);
    runs.push_back(run);
    begin = next;
  }
  return runs;
}

/// Two axes that both layouts walk like one: "hw" of most kernels.
bool joins(Runs& outer, const Runs& inner) {
  if (outer.size() != 1 || inner.size() != 1) return false;
  Run& run = outer.front();
  const Run& part = inner.front();
  if (run.src_step != part.count * part.src_step || run.dst_step != part.count * part.dst_step) return false;
  run = {run.count * part.count, 0, part.src_step, 0, part.dst_step, true};
  return true;
}

/// None longer than `most`.
Runs cut(const Runs& runs, std::int64_t most) {
  Runs parts;
  for (const Run& run : runs)
    for (std::int64_t begin = 0; begin < run.count; begin += most)
      parts.push_back({std::min(most, run.count - begin), run.src + begin * run.src_step, run.src_step,
                       run.dst + begin * run.dst_step, run.dst_step, run.is_real});
  return parts;
}

std::int64_t longest(const Runs& runs) {
  std::int64_t most = 1;
  for (const Run& run : runs) most = std::max(most, run.count);
  return most;
}

struct Tile {
  const float* src;
  float* dst;
  std::int64_t rows, src_row, dst_row;  ///< along the second axis
  std::int64_t count, src_step, dst_step;
  bool past_caches;

  /// Rows of the result are whole lines.
  WEIR_INLINE bool has_lines() const {
    return count % 16 == 0 && dst_row % 16 == 0 && reinterpret_cast<std::uintptr_t>(dst) % 64 == 0;
  }
};

WEIR_INLINE void write_zeros(const Tile& t) {
  for (std::int64_t row = 0; row < t.rows; ++row)
    for (std::int64_t i = 0; i < t.count; ++i) t.dst[row * t.dst_row + i * t.dst_step] = 0;
}

WEIR_INLINE void copy_entries(const Tile& t, std::int64_t from_row, std::int64_t rows, std::int64_t from,
                              std::int64_t count) {
  for (std::int64_t row = from_row; row < rows; ++row)
    for (std::int64_t i = from; i < count; ++i)
      t.dst[row * t.dst_row + i * t.dst_step] = t.src[row * t.src_row + i * t.src_step];
}

template <int width>
WEIR_INLINE void move(const float* from, float* to) {
  typename Lanes<width>::Vector values;
  std::memcpy(&values, from, sizeof values);
  std::memcpy(to, &values, sizeof values);
}

/// A line, past the caches where the machine can.
WEIR_INLINE void move_line_past_caches(const float* from, float* to) {
#if defined(__x86_64__)
  WEIR_UNROLL
  for (int i = 0; i < 16; i += 4) _mm_stream_ps(to + i, _mm_loadu_ps(from + i));
#else
  move<16>(from, to);
#endif
}

/// Whoever is told that the copies are there finds them.
inline void finish_lines() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

WEIR_INLINE void copy_lines(const Tile& t) {
  for (std::int64_t row = 0; row < t.rows; ++row)
    for (std::int64_t i = 0; i < t.count; i += 16)
      move_line_past_caches(t.src + row * t.src_row + i, t.dst + row * t.dst_row + i);
}

WEIR_INLINE void copy_rows(const Tile& t) {
  const std::int64_t whole = t.count / 8 * 8;
  for (std::int64_t row = 0; row < t.rows; ++row) {
    const float* const from = t.src + row * t.src_row;
    float* const to = t.dst + row * t.dst_row;
    std::int64_t i = 0;
    for (; i + 16 <= whole; i += 16) move<16>(from + i, to + i);
    if (i < whole) move<8>(from + i, to + i);
    for (i = whole; i < t.count; ++i) to[i] = from[i];
  }
}

/// 16 rows and 16 columns, turned; asks for those behind them.
WEIR_INLINE void turn_lines(const Tile& t, const float* from, float* to) {
  float lines[16 * 16];
  for (int i = 0; i < 16; ++i) __builtin_prefetch(from + i * t.src_step + 16);
  for (int row = 0; row < 16; row += 8)
    for (int i = 0; i < 16; i += 8) turn_8x8(from + row + i * t.src_step, t.src_step, lines + row * 16 + i, 16);
  for (int row = 0; row < 16; ++row) move_line_past_caches(lines + row * 16, to + row * t.dst_row);
}

WEIR_INLINE void turn_pieces(const Tile& t, std::int64_t from_row) {
  const std::int64_t rows = t.rows / 8 * 8, count = t.count / 8 * 8;
  for (std::int64_t row = from_row; row < rows; row += 8)
    for (std::int64_t i = 0; i < count; i += 8)
      turn_8x8(t.src + row + i * t.src_step, t.src_step, t.dst + row * t.dst_row + i, t.dst_row);
  copy_entries(t, from_row, rows, count, t.count);
  copy_entries(t, rows, t.rows, 0, t.count);
}

/// src lies side by side along the second axis.
WEIR_INLINE void turn(const Tile& t) {
  std::int64_t row = 0;
  if (t.past_caches && t.has_lines())
    for (; row + 16 <= t.rows; row += 16)
      for (std::int64_t i = 0; i < t.count; i += 16)
        turn_lines(t, t.src + row + i * t.src_step, t.dst + row * t.dst_row + i);
  turn_pieces(t, row);
}

WEIR_INLINE void copy(const Tile& t) {
  if (t.src_step == 1 && t.dst_step == 1) return t.past_caches && t.has_lines() ? copy_lines(t) : copy_rows(t);
  if (t.src_row == 1 && t.dst_step == 1) return turn(t);
  copy_entries(t, 0, t.rows, 0, t.count);
}

/// One tensor.
class Copy {
 public:
  Copy(const Shape& src, const Shape& dst, const float* from, float* to) : from_(from), to_(to) {
    for (std::size_t axis = 0; axis < src.dims.size(); ++axis)
      if (Runs runs = runs_of(src, dst, axis); runs.size() > 1 || runs.front().count > 1)
        axes_.push_back(std::move(runs));
    while (join_two()) continue;
    while (axes_.size() < 2) axes_.push_back({{1, 0, 0, 0, 0, true}});
    cut_to_tiles(find_tile());
    for (const Runs& runs : axes_) tiles_ *= static_cast<std::int64_t>(runs.size());
  }

  std::int64_t tiles() const { return tiles_; }
  std::int64_t largest_tile() const { return longest(axes_[row_]) * longest(axes_[column_]); }

  WEIR_INLINE void run(std::int64_t first, std::int64_t last, bool past_caches) const {
    std::int64_t at[most_axes];
    place(first, at);
    for (std::int64_t tile = first; tile < last; ++tile) {
      const float* src = from_;
      float* dst = to_;
      bool is_real = true;
      for (std::size_t i = 0; i < axes_.size(); ++i) {
        const Run& run = axes_[i][static_cast<std::size_t>(at[i])];
        src += run.src, dst += run.dst, is_real = is_real && run.is_real;
      }
      const Run& row = axes_[row_][static_cast<std::size_t>(at[row_])];
      const Run& column = axes_[column_][static_cast<std::size_t>(at[column_])];
      const Tile t{
          src, dst, row.count, row.src_step, row.dst_step, column.count, column.src_step, column.dst_step, past_caches};
      is_real ? copy(t) : write_zeros(t);
      for (std::size_t i = axes_.size(); i-- > 0;) {
        if (++at[i] < static_cast<std::int64_t>(axes_[i].size())) break;
        at[i] = 0;
      }
    }
  }

 private:
  static constexpr std::size_t most_axes = 26;  ///< each has a letter

  struct Axes {
    std::size_t row, column;
    bool turns;
  };

  bool join_two() {
    for (Runs& outer : axes_)
      for (auto inner = axes_.begin(); inner != axes_.end(); ++inner)
        if (&outer != &*inner && joins(outer, *inner)) return axes_.erase(inner), true;
    return false;
  }

  /// The axis of which some indices lie side by side; none: the first.
  std::size_t side_by_side(std::int64_t Run::*step) const {
    for (std::size_t axis = 0; axis < axes_.size(); ++axis)
      for (const Run& run : axes_[axis])
        if (run.count > 1 && run.*step == 1) return axis;
    return 0;
  }

  Axes find_tile() const {
    const std::size_t column = side_by_side(&Run::dst_step), source = side_by_side(&Run::src_step);
    if (source != column) return {source, column, true};
    std::size_t row = column == 0 ? 1 : 0;
    for (std::size_t axis = 0; axis < axes_.size(); ++axis)
      if (axis != column && longest(axes_[axis]) > longest(axes_[row])) row = axis;
    return {row, column, false};
  }

  void cut_to_tiles(const Axes& tile) {
    Runs columns = cut(axes_[tile.column], tile.turns ? piece_floats / 16 : piece_floats);
    const std::int64_t rows = piece_floats / longest(columns);
    Runs of_rows = cut(axes_[tile.row], rows < 16 ? rows : rows / 16 * 16);
    std::vector<std::pair<std::size_t, Runs>> order;
    for (std::size_t axis = 0; axis < axes_.size(); ++axis)
      order.emplace_back(axis, axis == tile.column ? columns : axis == tile.row ? of_rows : cut(axes_[axis], 1));
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return reach(a.second) > reach(b.second); });
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (order[i].first == tile.row) row_ = i;
      if (order[i].first == tile.column) column_ = i;
      axes_[i] = std::move(order[i].second);
    }
  }

  /// How far the source goes from one run to the next.
  static std::int64_t reach(const Runs& runs) {
    return runs.size() > 1 && runs[1].is_real ? runs[1].src - runs[0].src : 0;
  }

  WEIR_INLINE void place(std::int64_t tile, std::int64_t* at) const {
    for (std::size_t i = axes_.size(); i-- > 0;) {
      const auto runs = static_cast<std::int64_t>(axes_[i].size());
      at[i] = tile % runs;
      tile /= runs;
    }
  }

  const float* from_;
  float* to_;
  std::vector<Runs> axes_;  ///< outermost first
  std::size_t row_ = 0, column_ = 0;
  std::int64_t tiles_ = 1;
};

struct CopyLoop {
  WEIR_INLINE void operator()(const Copy* copy, std::int64_t first, std::int64_t last, bool past_caches) const {
    copy->run(first, last, past_caches);
  }
};

/// Tiles of one tensor, cut by its shape alone.
struct Piece {
  std::int64_t begin;  ///< floats of the pieces before it
  const Copy* copy;
  std::int64_t first, last;
};

class Repack final : public Executable {
 public:
  Repack(const Recipe& recipe, std::span<void* const> buffers) : threads_(recipe.threads) {
    for (std::size_t tensor = 0; recipe.find(repeated_role("src", tensor)); ++tensor) {
      const std::string src = repeated_role("src", tensor), dst = repeated_role("dst", tensor);
      const Shape &from = recipe.operand(src).shape, &to = recipe.operand(dst).shape;
      add(copies_.emplace_back(from, to, pointer<const float>(recipe, buffers, src),
                               pointer<float>(recipe, buffers, dst)),
          physical_count(to));
    }
  }

  void run() override {
    const bool past_caches = floats_ >= too_large_to_keep;
    parallel(floats_ < worthwhile ? 1 : threads_, [&](int index, int team) {
      const auto from = piece_at(floats_ * index / team), to = piece_at(floats_ * (index + 1) / team);
      for (auto piece = from; piece != to; ++piece)
        dispatch(CopyLoop{}, piece->copy, piece->first, piece->last, past_caches);
      if (past_caches) finish_lines();
    });
  }

 private:
  void add(const Copy& copy, std::int64_t floats) {
    const std::int64_t tiles = copy.tiles();
    const std::int64_t together = std::max<std::int64_t>(1, piece_floats / copy.largest_tile());
    for (std::int64_t first = 0; first < tiles; first += together)
      pieces_.push_back({floats_ + floats / tiles * first, &copy, first, std::min(tiles, first + together)});
    floats_ += floats;
  }

  std::vector<Piece>::const_iterator piece_at(std::int64_t floats) const {
    return std::lower_bound(pieces_.begin(), pieces_.end(), floats,
                            [](const Piece& piece, std::int64_t begin) { return piece.begin < begin; });
  }

  std::deque<Copy> copies_;
  std::vector<Piece> pieces_;
  std::int64_t floats_ = 0;  ///< of all results
  int threads_;
};

void validate(const Recipe& recipe) {
  check_attribute_names(recipe, {});
  std::deque<std::string> roles;
  std::vector<OperandRule> rules;
  std::size_t tensor = 0;
  do {
    const std::string &src = roles.emplace_back(repeated_role("src", tensor)),
                      &dst = roles.emplace_back(repeated_role("dst", tensor));
    rules.push_back({src, Access::read});
    rules.push_back({dst, Access::write});
    if (recipe.find(src) && recipe.find(dst)) check_equal_shapes(recipe, src, dst, false);
  } while (recipe.find(repeated_role("src", ++tensor)));
  check_operands(recipe, rules);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<Repack>(recipe, buffers);
}

constexpr std::string_view repeats[] = {"src", "dst"};

}  // namespace

extern const KernelDef repack;
const KernelDef repack{
    .name = "repack",
    .summary = "tensors copied into other layouts",
    .validate = validate,
    .create = create,
    .repeats = repeats,
};

}  // namespace weir::kernels
