// Gradient of max pooling: each entry of diff_dst is added to the cell that the workspace names, by its position in the
// window. The operands and settings of the library's pooling_backward. A plane, which is an image or its block of
// channels, is computed by one thread, windows in their order.
#include <algorithm>
#include <vector>

#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/lanes.hpp"
#include "runtime/layout.hpp"
#include "runtime/parallel.hpp"
#include "runtime/recipe_check.hpp"

namespace weir::kernels {
namespace {

struct Axis {
  std::int64_t large, small, window, stride, before;

  bool overlaps() const { return window > stride; }
  /// Every cell lies in a window.
  bool is_covered() const { return window >= stride && small * stride - before >= large; }
};

struct Plane {
  const float* d;
  const std::uint8_t* workspace;
  float* result;
  std::int32_t* named;  ///< room for the positions of one row of windows
  Axis rows, columns;
  std::int64_t lanes;  ///< channels that stand side by side
};

template <int width>
struct Scatter {
  using Vector = typename Lanes<width>::Vector;
  typedef std::int32_t Positions __attribute__((vector_size(4 * width)));

  WEIR_INLINE void operator()(const Plane* plane) const {
    const Plane p = *plane;
    const bool adds = p.rows.overlaps() || p.columns.overlaps();
    if (adds || !p.rows.is_covered() || !p.columns.is_covered())
      std::fill_n(p.result, p.rows.large * p.columns.large * p.lanes, 0.0f);
    for (std::int64_t row = 0; row < p.rows.small; ++row) {
      const std::int64_t begin = row * p.columns.small * p.lanes;
      for (std::int64_t i = 0; i < p.columns.small * p.lanes; ++i) p.named[i] = p.workspace[begin + i];
      if (adds)
        windows<true>(p, row, p.d + begin);
      else
        windows<false>(p, row, p.d + begin);
    }
  }

 private:
  /// adds: windows overlap, so that a cell may be named by several.
  template <bool adds>
  WEIR_INLINE static void windows(const Plane& p, std::int64_t row, const float* d) {
    const std::int64_t top = row * p.rows.stride - p.rows.before;
    const std::int64_t first = std::max<std::int64_t>(0, -top), last = std::min(p.rows.window, p.rows.large - top);
    for (std::int64_t y = first; y < last; ++y)
      for (std::int64_t column = 0; column < p.columns.small; ++column) {
        const std::int64_t left = column * p.columns.stride - p.columns.before;
        const std::int64_t right = std::min(p.columns.window, p.columns.large - left);
        float* const to = p.result + ((top + y) * p.columns.large + left) * p.lanes;
        for (std::int64_t x = std::max<std::int64_t>(0, -left); x < right; ++x)
          cell<adds>(d + column * p.lanes, p.named + column * p.lanes,
                     static_cast<std::int32_t>(y * p.columns.window + x), to + x * p.lanes, p.lanes);
      }
  }

  template <bool adds>
  WEIR_INLINE static void cell(const float* d, const std::int32_t* named, std::int32_t position, float* to,
                               std::int64_t lanes) {
    std::int64_t i = 0;
    for (; i + width <= lanes; i += width) {
      Positions names, bits;
      std::memcpy(&names, named + i, sizeof names);
      std::memcpy(&bits, d + i, sizeof bits);
      bits &= names == position;
      Vector values;
      std::memcpy(&values, &bits, sizeof values);
      if (adds) {
        Vector before;
        std::memcpy(&before, to + i, sizeof before);
        values += before;
      }
      std::memcpy(to + i, &values, sizeof values);
    }
    for (; i < lanes; ++i) to[i] = (adds ? to[i] : 0.0f) + (named[i] == position ? d[i] : 0.0f);
  }
};

Axis axis_of(const Recipe& recipe, std::size_t axis) {
  return {recipe.operand("diff_src").shape.dims[1 + axis], recipe.operand("diff_dst").shape.dims[1 + axis],
          recipe.attributes.integers("window")[axis], recipe.attributes.integers("strides")[axis],
          recipe.attributes.integers("padding")[2 * axis]};
}

/// Channels that stand side by side: all, or a block.
std::int64_t lanes_of(const Shape& shape) {
  return shape.layout == "nhwc" ? shape.dims[3] : shape.layout == "nChw8c" ? 8 : 16;
}

class PoolingMaxBackward final : public Executable {
 public:
  PoolingMaxBackward(const Recipe& recipe, std::span<void* const> buffers)
      : first_{pointer<const float>(recipe, buffers, "diff_dst"),
               pointer<const std::uint8_t>(recipe, buffers, "workspace"),
               pointer<float>(recipe, buffers, "diff_src"),
               nullptr,
               axis_of(recipe, 0),
               axis_of(recipe, 1),
               lanes_of(recipe.operand("diff_src").shape)},
        planes_(physical_count(recipe.operand("diff_src").shape) / large()),
        threads_(recipe.threads),
        named_(static_cast<std::size_t>(threads_ * row())) {}

  void run() override {
    parallel(planes_ < 2 ? 1 : threads_, [&](int index, int team) {
      for (std::int64_t at = planes_ * index / team; at < planes_ * (index + 1) / team; ++at) {
        Plane plane = first_;
        plane.d += at * small();
        plane.workspace += at * small();
        plane.result += at * large();
        plane.named = named_.data() + index * row();
        scatter(&plane);
      }
    });
  }

 private:
  static void scatter(const Plane* plane) {
#if defined(__x86_64__)
    if (instructions() == Instructions::avx512 && plane->lanes % 16 == 0) return call_avx512(Scatter<16>{}, plane);
#endif
    dispatch(Scatter<8>{}, plane);
  }

  std::int64_t row() const { return first_.columns.small * first_.lanes; }
  std::int64_t small() const { return first_.rows.small * first_.columns.small * first_.lanes; }
  std::int64_t large() const { return first_.rows.large * first_.columns.large * first_.lanes; }

  Plane first_;
  std::int64_t planes_;
  int threads_;
  std::vector<std::int32_t> named_;  ///< a row for each thread
};

constexpr OperandRule operands[] = {{"diff_dst"}, {"workspace", Access::read, DType::u8}, {"diff_src", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_attribute_names(recipe, {"algorithm", "window", "strides", "padding"});
  word_setting(recipe, "algorithm", {"max"});
  check_equal_shapes(recipe, "diff_dst", "workspace");
  const Shape &large = recipe.operand("diff_src").shape, &small = recipe.operand("diff_dst").shape;
  if (large.axes != "nhwc" || small.axes != "nhwc" || large.layout != small.layout)
    reject(recipe, "images must have axes \"nhwc\" and one layout");
  if (large.layout != "nhwc" && large.layout != "nChw8c" && large.layout != "nChw16c")
    reject(recipe, "images must be in the layout \"nhwc\", \"nChw8c\" or \"nChw16c\"");
  if (large.dims[0] != small.dims[0] || large.dims[3] != small.dims[3])
    reject(recipe, "pooling keeps the number of images and of channels");
  constexpr std::int64_t positions = 255;  // a byte counts the cells of a window
  const auto window = integers_setting(recipe, "window", 2, 1, positions);
  if (window[0] * window[1] > positions) reject(recipe, "the window is too large for positions of a byte");
  check_moves(recipe, large, small, window[0], window[1]);
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<PoolingMaxBackward>(recipe, buffers);
}

}  // namespace

extern const KernelDef pooling_max_backward;
const KernelDef pooling_max_backward{
    .name = "pooling_max_backward", .summary = "gradient of max pooling", .validate = validate, .create = create};

}  // namespace weir::kernels
