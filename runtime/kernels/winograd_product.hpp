// A convolution of 3 × 3 from one image into another, by winograd.hpp: forward, or from the gradient by its results to
// that by its image, which is the same with the kernel turned around and its channels exchanged.
#pragma once

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/winograd.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {

/// What all chunks of tiles share.
struct WinogradWork {
  const float *from, *kernel, *bias;  ///< bias: null where there is none
  float* to;
  TileImage in, out;
  TileGrid grid;
  bool relu, backward;  ///< backward: the kernel is [3, 3, channels out, channels in]

  std::int64_t kernel_step() const { return distinct_step(in.channels * out.channels); }
};

/// The kernel's parts, [16, channels in, channels out].
template <int width>
struct KernelSpread {
  using Vectors = TileVectors<width>;
  using Vector = typename Vectors::Vector;

  WEIR_INLINE void operator()(const WinogradWork* work, float* parts) const {
    const std::int64_t ins = work->in.channels, outs = work->out.channels;
    for (std::int64_t in = 0; in < ins; in += width)
      for (std::int64_t out = 0; out < outs; out += width) {
        float taps[9][width][width];  // [tap, in, out]
        for (int tap = 0; tap < 9; ++tap) {
          if (work->backward)
            copy_turned(work->kernel + ((8 - tap) * outs + out) * ins + in, ins, taps[tap]);
          else
            copy(work->kernel + (tap * ins + in) * outs + out, outs, taps[tap]);
        }
        for (int i = 0; i < width; ++i) {
          Vector g[3][3];
          WEIR_UNROLL
          for (int tap = 0; tap < 9; ++tap) Vectors::load(taps[tap][i], g[tap / 3][tap % 3]);
          Vectors::spread_kernel(g, parts + (in + i) * outs + out, work->kernel_step());
        }
      }
  }

 private:
  WEIR_INLINE static void copy(const float* from, std::int64_t step, float (&to)[width][width]) {
    for (int i = 0; i < width; ++i) std::memcpy(to[i], from + i * step, sizeof to[i]);
  }
  WEIR_INLINE static void copy_turned(const float* from, std::int64_t step, float (&to)[width][width]) {
    for (int j = 0; j < width; j += 8)
      for (int i = 0; i < width; i += 8) turn_8x8(from + j * step + i, step, &to[i][j], width);
  }
};

/// Tiles [first, first + count), by the kernel's parts; `room` holds those of the tiles, before the products and
/// behind.
template <int width>
struct WinogradChunk {
  using Vectors = TileVectors<width>;
  using Vector = typename Vectors::Vector;

  WEIR_INLINE void operator()(const WinogradWork* shared, const float* kernel, std::int64_t first, std::int64_t count,
                              float* room) const {
    const WinogradWork& work = *shared;
    float* const results = room + work.in.part_values();
    spread_image<width>(work.in, work.grid, work.from, first, count, room);
    const std::int64_t ins = work.in.channels, outs = work.out.channels;
    const ChunkFetch fetch(work.in, work.grid, work.from, first + count);
    for (int part = 0; part < winograd_parts; ++part) {
      fetch.share(part);
      MatrixProduct<width>::run({room + part * work.in.part_step(), ins}, {kernel + part * work.kernel_step(), outs},
                                results + part * work.out.part_step(), outs, count, outs, ins);
    }
    gather(work, first, count, results);
  }

 private:
  WEIR_INLINE static void gather(const WinogradWork& work, std::int64_t first, std::int64_t count, const float* parts) {
    TilePlace place(work.grid, first);
    for (std::int64_t tile = 0; tile < count; ++tile, place.step(work.grid)) {
      const TilePixels<2, width> pixels(work.out, 2 * place.row, 2 * place.column);
      float* image = work.to + place.image * work.out.image;
      const float* from = parts + tile * work.out.channels;
      for (std::int64_t c = 0; c < work.out.channels; c += width, image += work.out.vector, from += width) {
        Vector y[2][2], bias{};
        Vectors::gather_results(from, work.out.part_step(), y);
        if (work.bias) Vectors::load(work.bias + c, bias);
        WEIR_UNROLL
        for (int i = 0; i < 4; ++i) {
          Vector& value = y[i / 2][i % 2];
          value += bias;
          if (work.relu) value = value < 0 ? Vector{} : value;
        }
        pixels.store(y, image);
      }
    }
  }
};

/// in, out: the roles of the image that is read and of the one that is written.
class WinogradProduct final : public Executable {
 public:
  WinogradProduct(const Recipe& recipe, std::span<void* const> buffers, std::string_view in, std::string_view out)
      : lanes_(winograd_lanes(recipe.operand(in).shape, recipe.operand(out).shape)),
        threads_(recipe.threads),
        work_(work(recipe, buffers, in, out)) {}

  static std::int64_t scratch_values(const Recipe& recipe, std::string_view in, std::string_view out) {
    const Shape &from = recipe.operand(in).shape, &to = recipe.operand(out).shape;
    return recipe.threads * room_values(TileImage(from, 8), TileImage(to, 8));
  }

  /// Every thread spreads the kernel for itself: what another one has just written is far away.
  void run() override {
    parallel(threads_, [&](int index, int team) {
      const std::int64_t chunks = work_.grid.chunks();
      float* const parts = rooms_ + index * room_values(work_.in, work_.out);
      float* const room = parts + kernel_values(work_.in, work_.out);
      dispatch_lanes<KernelSpread>(lanes_, &work_, parts);
      for (std::int64_t chunk = chunks * index / team; chunk < chunks * (index + 1) / team; ++chunk)
        dispatch_lanes<WinogradChunk>(lanes_, &work_, static_cast<const float*>(parts), chunk * chunk_tiles,
                                      std::min(chunk_tiles, work_.grid.count - chunk * chunk_tiles), room);
    });
  }

 private:
  static std::int64_t kernel_values(const TileImage& in, const TileImage& out) {
    return winograd_parts * distinct_step(in.channels * out.channels);
  }
  static std::int64_t room_values(const TileImage& in, const TileImage& out) {
    return kernel_values(in, out) + in.part_values() + out.part_values();
  }

  WinogradWork work(const Recipe& recipe, std::span<void* const> buffers, std::string_view in, std::string_view out) {
    const Shape &from = recipe.operand(in).shape, &to = recipe.operand(out).shape;
    const bool backward = in == "diff_dst";
    const auto& padding = recipe.attributes.integers("padding");
    const TileImage image(from, lanes_), result(to, lanes_);
    rooms_ = pointer<float>(recipe, buffers, "scratch");
    return {
        pointer<const float>(recipe, buffers, in),
        pointer<const float>(recipe, buffers, "weights"),
        pointer<const float>(recipe, buffers, "bias"),
        pointer<float>(recipe, buffers, out),
        image,
        result,
        TileGrid(from.dims[0], result, backward ? 2 - padding[0] : padding[0], backward ? 2 - padding[2] : padding[2]),
        recipe.attributes.has("post_op"),
        backward};
  }

  int lanes_, threads_;
  float* rooms_ = nullptr;  ///< one a thread
  WinogradWork work_;
};

}  // namespace weir::kernels
