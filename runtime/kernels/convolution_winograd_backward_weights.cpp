// diff_weights and diff_bias of a convolution of 3 × 3 (winograd.hpp). In the parts of tiles,
//   dU = Σ over tiles of Vᵀ · (A · diff_dst · Aᵀ),  diff_weights = Gᵀ dU G,
// and of diff_dst's parts one is the sum over a tile, which the bias takes. Tiles are summed up in shares of fixed
// borders, and these two by two, as in a tree, so that threads change no bit; a thread adds its own shares up first.
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/winograd.hpp"
#include "runtime/parallel.hpp"

namespace weir::kernels {
namespace {

constexpr int sum_part = 5;  ///< (1, 1) of A y Aᵀ: all four results

struct WeightsWork {
  const float *src, *diff_dst;
  TileImage in, out;
  TileGrid grid;
  float *diff_weights, *diff_bias;  ///< diff_bias: null where there is none

  std::int64_t kernel_step() const { return distinct_step(in.channels * out.channels); }
  std::int64_t bias_place() const { return winograd_parts * kernel_step(); }  ///< in a share, behind the parts
  std::int64_t share_values() const { return bias_place() + out.channels; }
};

/// Adds tiles [first, first + count) to a share's sums.
template <int width>
struct WeightsChunk {
  using Vectors = TileVectors<width>;
  using Vector = typename Vectors::Vector;

  WEIR_INLINE void operator()(const WeightsWork* shared, std::int64_t first, std::int64_t count, float* room,
                              float* sums) const {
    const WeightsWork& work = *shared;
    float* const gradients = room + work.in.part_values();
    spread_image<width>(work.in, work.grid, work.src, first, count, room);
    spread_gradients(work, first, count, gradients);
    const std::int64_t ins = work.in.channels, outs = work.out.channels;
    const ChunkFetch fetch(work.in, work.grid, work.src, first + count),
        fetch_gradients(work.out, work.grid, work.diff_dst, first + count);
    for (int part = 0; part < winograd_parts; ++part) {
      fetch.share(part);
      fetch_gradients.share(part);
      MatrixProduct<width>::run({room + part * work.in.part_step(), 1, ins},
                                {gradients + part * work.out.part_step(), outs}, sums + part * work.kernel_step(), outs,
                                ins, outs, count, true);
    }
    if (work.diff_bias) add_bias(gradients + sum_part * work.out.part_step(), outs, count, sums + work.bias_place());
  }

 private:
  WEIR_INLINE static void spread_gradients(const WeightsWork& work, std::int64_t first, std::int64_t count,
                                           float* parts) {
    TilePlace place(work.grid, first);
    for (std::int64_t tile = 0; tile < count; ++tile, place.step(work.grid)) {
      const TilePixels<2, width> results(work.out, 2 * place.row, 2 * place.column);
      const float* image = work.diff_dst + place.image * work.out.image;
      float* to = parts + tile * work.out.channels;
      for (std::int64_t c = 0; c < work.out.channels; c += width, image += work.out.vector, to += width) {
        Vector y[2][2];
        results.load(image, y);
        Vectors::spread_results(y, to, work.out.part_step());
      }
    }
  }
  WEIR_INLINE static void add_bias(const float* gradients, std::int64_t channels, std::int64_t count, float* bias) {
    for (std::int64_t c = 0; c < channels; c += width) {
      Vector sum{}, before;
      for (std::int64_t tile = 0; tile < count; ++tile) {
        Vector value;
        Vectors::load(gradients + tile * channels + c, value);
        sum += value;
      }
      Vectors::load(bias + c, before);
      Vectors::store(bias + c, before + sum);
    }
  }
};

/// Input channels [first, last) of the kernel's gradient, from the sums of all tiles.
template <int width>
struct WeightsGather {
  using Vectors = TileVectors<width>;
  using Vector = typename Vectors::Vector;

  WEIR_INLINE void operator()(const WeightsWork* shared, std::int64_t first, std::int64_t last,
                              const float* sums) const {
    const WeightsWork& work = *shared;
    const std::int64_t ins = work.in.channels, outs = work.out.channels;
    for (std::int64_t in = first; in < last; ++in)
      for (std::int64_t out = 0; out < outs; out += width) {
        Vector u[4][4], g[3][3];
        for (int part = 0; part < winograd_parts; ++part)
          Vectors::load(sums + part * work.kernel_step() + in * outs + out, u[part / 4][part % 4]);
        Vectors::gather_kernel(u, g);
        for (int tap = 0; tap < 9; ++tap)
          Vectors::store(work.diff_weights + (tap * ins + in) * outs + out, g[tap / 3][tap % 3]);
      }
  }
};

struct Addition {
  WEIR_INLINE void operator()(const float* from, float* to, std::int64_t count) const {
    WEIR_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
  }
};

/// Enough for some threads, few enough for their sums to be small beside what they are sums of.
std::int64_t shares_of(const TileGrid& grid) { return std::clamp<std::int64_t>(grid.chunks() / 2, 1, 8); }

/// One share's sums are added to another's.
struct Joint {
  std::int64_t to, from;
  std::int64_t end;  ///< of the shares that are added up then, which begin at `to`
};

/// Neighbours first, then pairs of them, and so on.
std::vector<Joint> joints_of(std::int64_t shares) {
  std::vector<Joint> joints;
  for (std::int64_t distance = 1; distance < shares; distance *= 2)
    for (std::int64_t to = 0; to + distance < shares; to += 2 * distance)
      joints.push_back({to, to + distance, std::min(to + 2 * distance, shares)});
  return joints;
}

class ConvolutionWinogradBackwardWeights final : public Executable {
 public:
  ConvolutionWinogradBackwardWeights(const Recipe& recipe, std::span<void* const> buffers)
      : lanes_(winograd_lanes(recipe.operand("src").shape, recipe.operand("diff_dst").shape)),
        threads_(recipe.threads),
        work_(work(recipe, buffers, lanes_)),
        shares_(shares_of(work_.grid)),
        joints_(joints_of(shares_)),
        sums_(pointer<float>(recipe, buffers, "scratch")),
        rooms_(sums_ + shares_ * work_.share_values()) {}

  static std::int64_t scratch_values(const Recipe& recipe) {
    const WeightsWork it = work(recipe, {}, 8);
    return shares_of(it.grid) * it.share_values() + recipe.threads * room_values(it);
  }

  void run() override {
    const std::int64_t channels = work_.in.channels, row = work_.out.channels;
    parallel(threads_, [&](int index, int team) {
      const std::int64_t first = first_share(index, team), last = first_share(index + 1, team);
      for (std::int64_t share = first; share < last; ++share) add_up(share, rooms_ + index * room_values(work_));
      for (const Joint& joint : joints_)
        if (joint.to >= first && joint.end <= last) join(joint, 0, work_.share_values());
    });
    parallel(threads_, [&](int index, int team) {
      const std::int64_t first = channels * index / team, last = channels * (index + 1) / team;
      for (const Joint& joint : joints_) {
        if (is_of_one_thread(joint, team)) continue;
        for (int part = 0; part < winograd_parts; ++part)
          join(joint, part * work_.kernel_step() + first * row, (last - first) * row);
        if (index == 0) join(joint, work_.bias_place(), row);
      }
      dispatch_lanes<WeightsGather>(lanes_, &work_, first, last, static_cast<const float*>(sums_));
    });
    if (work_.diff_bias) std::copy_n(sums_ + work_.bias_place(), row, work_.diff_bias);
  }

 private:
  static std::int64_t room_values(const WeightsWork& work) { return work.in.part_values() + work.out.part_values(); }

  static WeightsWork work(const Recipe& recipe, std::span<void* const> buffers, int lanes) {
    const Shape &image = recipe.operand("src").shape, &result = recipe.operand("diff_dst").shape;
    const auto& padding = recipe.attributes.integers("padding");
    const TileImage in(image, lanes), out(result, lanes);
    const TileGrid grid(image.dims[0], out, padding[0], padding[2]);
    if (buffers.empty()) return {nullptr, nullptr, in, out, grid, nullptr, nullptr};
    return {pointer<const float>(recipe, buffers, "src"),
            pointer<const float>(recipe, buffers, "diff_dst"),
            in,
            out,
            grid,
            pointer<float>(recipe, buffers, "diff_weights"),
            pointer<float>(recipe, buffers, "diff_bias")};
  }

  std::int64_t first_share(int index, int team) const { return shares_ * index / team; }
  bool is_of_one_thread(const Joint& joint, int team) const {
    for (int index = 0; index < team; ++index)
      if (joint.to >= first_share(index, team) && joint.end <= first_share(index + 1, team)) return true;
    return false;
  }
  void join(const Joint& joint, std::int64_t from, std::int64_t count) const {
    float* const to = sums_ + joint.to * work_.share_values() + from;
    const float* const other = sums_ + joint.from * work_.share_values() + from;
    dispatch(Addition{}, other, to, count);
  }

  void add_up(std::int64_t share, float* room) const {
    float* const sums = sums_ + share * work_.share_values();
    std::fill_n(sums, work_.share_values(), 0.0f);
    const std::int64_t chunks = work_.grid.chunks();
    for (std::int64_t chunk = chunks * share / shares_; chunk < chunks * (share + 1) / shares_; ++chunk)
      dispatch_lanes<WeightsChunk>(lanes_, &work_, chunk * chunk_tiles,
                                   std::min(chunk_tiles, work_.grid.count - chunk * chunk_tiles), room, sums);
  }

  int lanes_, threads_;
  WeightsWork work_;
  std::int64_t shares_;
  std::vector<Joint> joints_;
  float *sums_, *rooms_;  ///< of the shares; one a thread
};

constexpr OperandRule operands[] = {{"src"},
                                    {"diff_dst"},
                                    {"diff_weights", Access::write},
                                    {"diff_bias", Access::write, DType::f32, true},
                                    {"scratch", Access::write, DType::u8}};

std::int64_t scratch_bytes(const Recipe& recipe) {
  return ConvolutionWinogradBackwardWeights::scratch_values(recipe) * static_cast<std::int64_t>(sizeof(float));
}

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_winograd(recipe, "src", "diff_weights", "diff_dst");
  check_scratch(recipe, scratch_bytes(recipe));
  if (const RecipeOperand* bias = recipe.find("diff_bias");
      bias && bias->shape.dims != Dims{recipe.operand("diff_dst").shape.dims[3]})
    reject(recipe, "the bias must have one value for each output channel");
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ConvolutionWinogradBackwardWeights>(recipe, buffers);
}

}  // namespace

extern const KernelDef convolution_winograd_backward_weights;
const KernelDef convolution_winograd_backward_weights{
    .name = "convolution_winograd_backward_weights",
    .summary = "gradients of a convolution of 3 by 3 by its kernel and bias, with fewer products",
    .validate = validate,
    .create = create,
    .scratch_bytes = scratch_bytes};

}  // namespace weir::kernels
