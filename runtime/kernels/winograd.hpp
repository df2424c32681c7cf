// Convolutions of 3 × 3 by the minimal filtering algorithm F(2×2, 3×3): a tile of 2 × 2 results takes 16 products of
// each input channel with each output channel instead of 36 (A. Lavin, S. Gray, "Fast Algorithms for Convolutional
// Neural Networks", 2015; S. Winograd, "Arithmetic Complexity of Computations", 1980). With the 4 × 4 input pixels d of
// a tile, the kernel g and the results y, for each pair of channels:
//   y = Aᵀ (U ⊙ V) A,  U = G g Gᵀ,  V = Bᵀ d B
//       Bᵀ = ⎡1  0 -1  0⎤   G = ⎡ 1   0   0 ⎤   Aᵀ = ⎡1  1  1  0⎤
//            ⎢0  1  1  0⎥       ⎢1/2 1/2 1/2⎥        ⎣0  1 -1 -1⎦
//            ⎢0 -1  1  0⎥       ⎢1/2-1/2 1/2⎥
//            ⎣0  1  0 -1⎦       ⎣ 0   0   1 ⎦
// Each of the 16 entries of U and V is a matrix over channels, so a chunk of tiles is 16 products of matrices. Sums and
// differences of two or four values come before the products and behind them: results differ from a direct
// convolution's by some roundings.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runtime/kernels/matrix_product.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {

inline constexpr int winograd_parts = 16;        ///< entries of a transformed tile
inline constexpr std::int64_t chunk_tiles = 32;  ///< tiles that are transformed and multiplied at once

/// From one part to the next, which are used side by side: a power of two would put them into the same lines of caches.
inline std::int64_t distinct_step(std::int64_t values) { return values + 16; }

/// An image's extents, and the distances between its neighbours in floats: vectors of channels lie together, in "nhwc"
/// or a blocked layout.
struct TileImage {
  std::int64_t height, width, channels;
  std::int64_t pixel, row, image, vector;

  TileImage(const Shape& shape, int lanes) : height(shape.dims[1]), width(shape.dims[2]), channels(shape.dims[3]) {
    const bool blocked = shape.layout != shape.axes;
    pixel = blocked ? lanes : channels;
    row = width * pixel;
    image = height * width * channels;
    vector = blocked ? height * row : lanes;
  }
  /// Neighbouring pixels lie in one run of memory, or in so many, a vector of channels each.
  std::int64_t runs() const { return pixel == channels ? 1 : channels / pixel; }
  std::int64_t part_step() const { return distinct_step(chunk_tiles * channels); }
  std::int64_t part_values() const { return winograd_parts * part_step(); }
};

/// Tiles of 2 × 2 results, each of which reads 4 × 4 pixels that begin `top` and `left` of its own place.
struct TileGrid {
  std::int64_t rows, columns, count, top, left;

  TileGrid(std::int64_t batch, const TileImage& results, std::int64_t above, std::int64_t before)
      : rows((results.height + 1) / 2),
        columns((results.width + 1) / 2),
        count(batch * rows * columns),
        top(above),
        left(before) {}
  std::int64_t chunks() const { return (count + chunk_tiles - 1) / chunk_tiles; }
};

/// Where a tile lies.
struct TilePlace {
  std::int64_t image, row, column;
  WEIR_INLINE TilePlace(const TileGrid& grid, std::int64_t tile)
      : image(tile / (grid.rows * grid.columns)), row(tile / grid.columns % grid.rows), column(tile % grid.columns) {}
  WEIR_INLINE void step(const TileGrid& grid) {
    if (++column < grid.columns) return;
    column = 0;
    if (++row < grid.rows) return;
    row = 0, ++image;
  }
};

/// Asks for the pixels that the chunk behind this one covers, a sixteenth at a time: the products leave time for it.
class ChunkFetch {
 public:
  WEIR_INLINE ChunkFetch(const TileImage& image, const TileGrid& grid, const float* data, std::int64_t next)
      : runs_(image.runs()), run_step_(image.vector) {
    if (next >= grid.count) return;
    const TilePlace place(grid, next);
    from_ = data + place.image * image.image + 2 * place.row * image.row;
    share_ = std::min(chunk_tiles, grid.count - next) / 4 * image.pixel;
  }
  WEIR_INLINE void share(int part) const {
    if (!from_) return;
    const float* from = from_ + part * share_;
    for (std::int64_t run = 0; run < runs_; ++run, from += run_step_)
      for (std::int64_t at = 0; at < share_; at += 16) __builtin_prefetch(from + at, 0, 2);
  }

 private:
  const float* from_ = nullptr;
  std::int64_t share_ = 0, runs_, run_step_;
};

/// Vectors of a tile and of the parts it becomes.
template <int width>
struct TileVectors {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE static void load(const float* from, Vector& to) { std::memcpy(&to, from, sizeof to); }
  WEIR_INLINE static void store(float* to, const Vector& from) { std::memcpy(to, &from, sizeof from); }

  /// parts = Bᵀ d B, to 16 places at a distance.
  WEIR_INLINE static void spread_input(const Vector (&d)[4][4], float* parts, std::int64_t step) {
    Vector rows[4][4];
    WEIR_UNROLL
    for (int j = 0; j < 4; ++j) {
      rows[0][j] = d[0][j] - d[2][j];
      rows[1][j] = d[1][j] + d[2][j];
      rows[2][j] = d[2][j] - d[1][j];
      rows[3][j] = d[1][j] - d[3][j];
    }
    WEIR_UNROLL
    for (int i = 0; i < 4; ++i) {
      store(parts + (4 * i + 0) * step, rows[i][0] - rows[i][2]);
      store(parts + (4 * i + 1) * step, rows[i][1] + rows[i][2]);
      store(parts + (4 * i + 2) * step, rows[i][2] - rows[i][1]);
      store(parts + (4 * i + 3) * step, rows[i][1] - rows[i][3]);
    }
  }

  /// y = Aᵀ m A, from 16 places at a distance.
  WEIR_INLINE static void gather_results(const float* parts, std::int64_t step, Vector (&y)[2][2]) {
    Vector rows[2][4];
    WEIR_UNROLL
    for (int j = 0; j < 4; ++j) {
      Vector m[4];
      WEIR_UNROLL
      for (int i = 0; i < 4; ++i) load(parts + (4 * i + j) * step, m[i]);
      rows[0][j] = m[0] + m[1] + m[2];
      rows[1][j] = m[1] - m[2] - m[3];
    }
    WEIR_UNROLL
    for (int i = 0; i < 2; ++i) {
      y[i][0] = rows[i][0] + rows[i][1] + rows[i][2];
      y[i][1] = rows[i][1] - rows[i][2] - rows[i][3];
    }
  }

  /// parts = A y Aᵀ: the gradient of gather_results.
  WEIR_INLINE static void spread_results(const Vector (&y)[2][2], float* parts, std::int64_t step) {
    Vector rows[4][2];
    WEIR_UNROLL
    for (int j = 0; j < 2; ++j) {
      rows[0][j] = y[0][j];
      rows[1][j] = y[0][j] + y[1][j];
      rows[2][j] = y[0][j] - y[1][j];
      rows[3][j] = -y[1][j];
    }
    WEIR_UNROLL
    for (int i = 0; i < 4; ++i) {
      store(parts + (4 * i + 0) * step, rows[i][0]);
      store(parts + (4 * i + 1) * step, rows[i][0] + rows[i][1]);
      store(parts + (4 * i + 2) * step, rows[i][0] - rows[i][1]);
      store(parts + (4 * i + 3) * step, -rows[i][1]);
    }
  }

  /// parts = G g Gᵀ.
  WEIR_INLINE static void spread_kernel(const Vector (&g)[3][3], float* parts, std::int64_t step) {
    Vector rows[4][3];
    WEIR_UNROLL
    for (int j = 0; j < 3; ++j) {
      const Vector ends = g[0][j] + g[2][j];
      rows[0][j] = g[0][j];
      rows[1][j] = (ends + g[1][j]) * 0.5f;
      rows[2][j] = (ends - g[1][j]) * 0.5f;
      rows[3][j] = g[2][j];
    }
    WEIR_UNROLL
    for (int i = 0; i < 4; ++i) {
      const Vector ends = rows[i][0] + rows[i][2];
      store(parts + (4 * i + 0) * step, rows[i][0]);
      store(parts + (4 * i + 1) * step, (ends + rows[i][1]) * 0.5f);
      store(parts + (4 * i + 2) * step, (ends - rows[i][1]) * 0.5f);
      store(parts + (4 * i + 3) * step, rows[i][2]);
    }
  }

  /// g = Gᵀ u G: the gradient of spread_kernel.
  WEIR_INLINE static void gather_kernel(const Vector (&u)[4][4], Vector (&g)[3][3]) {
    Vector rows[3][4];
    WEIR_UNROLL
    for (int j = 0; j < 4; ++j) {
      rows[0][j] = u[0][j] + (u[1][j] + u[2][j]) * 0.5f;
      rows[1][j] = (u[1][j] - u[2][j]) * 0.5f;
      rows[2][j] = (u[1][j] + u[2][j]) * 0.5f + u[3][j];
    }
    WEIR_UNROLL
    for (int i = 0; i < 3; ++i) {
      g[i][0] = rows[i][0] + (rows[i][1] + rows[i][2]) * 0.5f;
      g[i][1] = (rows[i][1] - rows[i][2]) * 0.5f;
      g[i][2] = (rows[i][1] + rows[i][2]) * 0.5f + rows[i][3];
    }
  }
};

/// `size` × `size` pixels of an image from (row, column) on, zeros where they lie outside.
template <int size, int width>
struct TilePixels {
  using Vectors = TileVectors<width>;
  using Vector = typename Vectors::Vector;

  WEIR_INLINE TilePixels(const TileImage& image, std::int64_t row, std::int64_t column)
      : image_(image), first_(row * image.row + column * image.pixel) {
    inside_ = row >= 0 && column >= 0 && row + size <= image.height && column + size <= image.width;
    for (int i = 0; i < size; ++i) rows_[i] = row + i >= 0 && row + i < image.height;
    for (int j = 0; j < size; ++j) columns_[j] = column + j >= 0 && column + j < image.width;
  }
  WEIR_INLINE void load(const float* image, Vector (&to)[size][size]) const {
    const float* const from = image + first_;
    if (inside_) {
      WEIR_UNROLL
      for (int i = 0; i < size; ++i) {
        WEIR_UNROLL
        for (int j = 0; j < size; ++j) Vectors::load(from + i * image_.row + j * image_.pixel, to[i][j]);
      }
      return;
    }
    WEIR_UNROLL
    for (int i = 0; i < size; ++i) {
      WEIR_UNROLL
      for (int j = 0; j < size; ++j) {
        to[i][j] = Vector{};
        if (rows_[i] && columns_[j]) Vectors::load(from + i * image_.row + j * image_.pixel, to[i][j]);
      }
    }
  }
  /// Each pixel that lies inside.
  WEIR_INLINE void store(const Vector (&from)[size][size], float* image) const {
    float* const to = image + first_;
    WEIR_UNROLL
    for (int i = 0; i < size; ++i) {
      WEIR_UNROLL
      for (int j = 0; j < size; ++j)
        if (inside_ || (rows_[i] && columns_[j])) Vectors::store(to + i * image_.row + j * image_.pixel, from[i][j]);
    }
  }

 private:
  const TileImage& image_;
  std::int64_t first_;
  bool inside_, rows_[size], columns_[size];
};

/// The parts of tiles [first, first + count) of an image.
template <int width>
WEIR_INLINE void spread_image(const TileImage& image, const TileGrid& grid, const float* data, std::int64_t first,
                              std::int64_t count, float* parts) {
  using Vectors = TileVectors<width>;
  TilePlace place(grid, first);
  for (std::int64_t tile = 0; tile < count; ++tile, place.step(grid)) {
    const TilePixels<4, width> pixels(image, 2 * place.row - grid.top, 2 * place.column - grid.left);
    const float* from = data + place.image * image.image;
    float* to = parts + tile * image.channels;
    for (std::int64_t c = 0; c < image.channels; c += width, from += image.vector, to += width) {
      typename Vectors::Vector d[4][4];
      pixels.load(from, d);
      Vectors::spread_input(d, to, image.part_step());
    }
  }
}

inline constexpr int winograd_block = 8;  ///< channels come in whole vectors of so many

/// Channels that stand side by side in vectors: as many as this machine takes, where both images have whole ones.
inline int winograd_lanes(const Shape& one, const Shape& other) {
#if defined(__x86_64__)
  const bool blocked = one.layout != one.axes;
  if (!blocked && one.dims[3] % 16 == 0 && other.dims[3] % 16 == 0 && instructions() == Instructions::avx512) return 16;
#endif
  return winograd_block;
}

/// Loop<lanes> with these arguments.
template <template <int> class Loop, class... Arguments>
void dispatch_lanes(int lanes, Arguments... arguments) {
#if defined(__x86_64__)
  if (lanes == 16) return call_avx512(Loop<16>{}, arguments...);
#endif
  dispatch(Loop<winograd_block>{}, arguments...);
}

/// Of all three: images "nhwc" or blocked alike, the kernel "hwio" of 3 × 3, steps of one pixel.
inline void check_winograd(const Recipe& recipe, std::string_view in, std::string_view kernel, std::string_view out) {
  const Shape &image = recipe.operand(in).shape, &result = recipe.operand(out).shape,
              &weights = recipe.operand(kernel).shape;
  check_dense(recipe, kernel);
  if (image.axes != "nhwc" || result.axes != "nhwc" || weights.axes != "hwio")
    reject(recipe, "images must have axes \"nhwc\" and the kernel \"hwio\"");
  if ((image.layout != "nhwc" && image.layout != "nChw8c") || image.layout != result.layout)
    reject(recipe, "both images must be in the layout \"nhwc\" or \"nChw8c\"");
  integers_setting(recipe, "strides", 2, 1, 1);
  integers_setting(recipe, "dilation", 2, 1, 1);
  integer_setting(recipe, "groups", 1, 1);
  if (weights.dims[0] != 3 || weights.dims[1] != 3) reject(recipe, "the kernel must be 3 by 3");
  check_moves(recipe, image, result, 3, 3);
  if (image.dims[0] != result.dims[0] || weights.dims[2] != image.dims[3] || weights.dims[3] != result.dims[3])
    reject(recipe, "the kernel's channels do not fit those of the images");
  if (image.dims[3] % winograd_block != 0 || result.dims[3] % winograd_block != 0)
    reject(recipe, "the channels must be a multiple of " + std::to_string(winograd_block));
}

inline void check_scratch(const Recipe& recipe, std::int64_t bytes) {
  if (byte_count(recipe.operand("scratch")) < static_cast<std::uint64_t>(bytes))
    reject(recipe, "the scratch is too small");
}

}  // namespace weir::kernels
