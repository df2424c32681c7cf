// Products of small matrices, for dense layers whose arithmetic takes less time than a call of the library: C = A·B by
// tiles of a few rows and one or two vectors of columns, whose sums stay in registers. An entry of C is the sum over
// the depth in its order, whatever the tile and the instruction set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/kernels/dispatch.hpp"
#include "runtime/kernels/lanes.hpp"

namespace weir::kernels {

/// At most `width` values, 8 or 16: copies of fixed sizes, because a call of memcpy takes longer than the copy.
template <int width>
WEIR_INLINE void copy_few(const float* from, float* to, std::int64_t count) {
  if (count == width) {
    std::memcpy(to, from, width * sizeof(float));
    return;
  }
  if constexpr (width > 8)
    if (count & 8) std::memcpy(to, from, 32), from += 8, to += 8;
  if (count & 4) std::memcpy(to, from, 16), from += 4, to += 4;
  if (count & 2) std::memcpy(to, from, 8), from += 2, to += 2;
  if (count & 1) *to = *from;
}

/// One strip of columns. A(row, k) = a[row · a_row + k · a_step]; B(k, column) = b[k · b_step + column], where a whole
/// strip may be read; C likewise, where `columns` are written.
struct ProductStrip {
  const float* a;
  std::int64_t a_row, a_step;
  const float* b;
  std::int64_t b_step;
  const float* start;  ///< a strip that the sums start from, or null for 0
  float* c;
  std::int64_t c_row;
  std::int64_t rows, columns, depth;
  bool relu;          ///< what is below 0 becomes 0
  const float* mask;  ///< null, or laid out like C: C is 0 where it is not above 0
};

template <int tall, int width>
struct StripProduct {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE void operator()(ProductStrip p) const {
    std::int64_t row = 0;
    for (; row + tall <= p.rows; row += tall) tile<tall>(p, row);
    for (; row < p.rows; ++row) tile<1>(p, row);
  }

 private:
  template <int count>
  WEIR_INLINE static void tile(const ProductStrip& p, std::int64_t row) {
    Vector sums[count], first{};
    if (p.start) std::memcpy(&first, p.start, sizeof first);
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) sums[i] = first;
    const float* a = p.a + row * p.a_row;
    for (std::int64_t k = 0; k < p.depth; ++k) {
      Vector b;
      std::memcpy(&b, p.b + k * p.b_step, sizeof b);
      WEIR_UNROLL
      for (int i = 0; i < count; ++i) sums[i] += a[i * p.a_row + k * p.a_step] * b;
    }
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) {
      if (p.relu) sums[i] = sums[i] < 0 ? Vector{} : sums[i];  // NaN stays NaN
      store(p, sums[i], row + i);
    }
  }

  WEIR_INLINE static void store(const ProductStrip& p, const Vector& sum, std::int64_t row) {
    float* to = p.c + row * p.c_row;
    if (p.columns == width && !p.mask) {
      std::memcpy(to, &sum, sizeof sum);
      return;
    }
    float values[width];
    std::memcpy(values, &sum, sizeof sum);
    if (p.mask) {
      const float* mask = p.mask + row * p.c_row;
      for (std::int64_t column = 0; column < p.columns; ++column) to[column] = mask[column] > 0 ? values[column] : 0.0f;
    } else {
      copy_few<width>(values, to, p.columns);
    }
  }
};

/// Σ of the rows of B: the gradient of a bias.
template <int width>
struct StripSum {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE void operator()(const float* b, std::int64_t b_step, std::int64_t depth, float* sums,
                              std::int64_t columns) const {
    Vector sum{};
    for (std::int64_t k = 0; k < depth; ++k) {
      Vector row;
      std::memcpy(&row, b + k * b_step, sizeof row);
      sum += row;
    }
    float values[width];
    std::memcpy(values, &sum, sizeof sum);
    copy_few<width>(values, sums, columns);
  }
};

/// Rows of a few values, `from_step` apart, as rows `to_step` apart.
struct StripCopy {
  WEIR_INLINE void operator()(const float* from, std::int64_t from_step, float* to, std::int64_t to_step,
                              std::int64_t rows, std::int64_t columns) const {
    for (std::int64_t row = 0; row < rows; ++row) copy_few<16>(from + row * from_step, to + row * to_step, columns);
  }
};

/// Columns in a strip: 16, and 8 where no more are left.
inline constexpr std::int64_t widest_strip = 16, narrow_strip = 8;

inline std::int64_t strip_width(std::int64_t columns) { return columns > narrow_strip ? widest_strip : narrow_strip; }

inline void multiply(const ProductStrip& strip, std::int64_t width) {
#if defined(__x86_64__)
  if (instructions() == Instructions::avx512)
    return width == widest_strip ? dispatch(StripProduct<8, widest_strip>{}, strip)
                                 : dispatch(StripProduct<8, narrow_strip>{}, strip);
#endif
  return width == widest_strip ? dispatch(StripProduct<4, widest_strip>{}, strip)
                               : dispatch(StripProduct<8, narrow_strip>{}, strip);
}

inline void add_rows(const float* b, std::int64_t b_step, std::int64_t depth, float* sums, std::int64_t columns,
                     std::int64_t width) {
  if (width == widest_strip) return dispatch(StripSum<widest_strip>{}, b, b_step, depth, sums, columns);
  dispatch(StripSum<narrow_strip>{}, b, b_step, depth, sums, columns);
}

/// A matrix by strips of columns. The last columns are copied into a strip of their own, with zeros behind them, where
/// the matrix ends before the strip does.
class Strips {
 public:
  Strips(std::int64_t depth, std::int64_t columns)
      : depth_(depth),
        columns_(columns),
        rest_(columns % widest_strip),
        last_(static_cast<std::size_t>(rest_ && !fits() ? depth * strip_width(rest_) : 0)) {}

  /// body(first column, columns, width, strip, step) for each strip of rows · columns values.
  template <class Body>
  void for_each(const float* matrix, Body&& body) {
    std::int64_t column = 0;
    for (; column + widest_strip <= columns_; column += widest_strip)
      body(column, widest_strip, widest_strip, matrix + column, columns_);
    if (rest_ == 0) return;
    const std::int64_t width = strip_width(rest_);
    if (fits()) return body(column, rest_, width, matrix + column, columns_);
    dispatch(StripCopy{}, matrix + column, columns_, last_.data(), width, depth_, rest_);
    body(column, rest_, width, last_.data(), width);
  }

 private:
  static std::size_t index(std::int64_t at) { return static_cast<std::size_t>(at); }
  bool fits() const { return rest_ == narrow_strip; }

  std::int64_t depth_, columns_, rest_;
  std::vector<float> last_;
};

}  // namespace weir::kernels
