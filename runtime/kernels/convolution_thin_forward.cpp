// dst = src * weights + bias, then relu where "post_op" says so, for images of few channels (convolution_thin.hpp).
#include "runtime/kernel.hpp"
#include "runtime/kernels/convolution_thin.hpp"

namespace weir::kernels {
namespace {

/// One row of output pixels.
struct ThinRow {
  const float* frame;  ///< at the row's first pixel
  std::int64_t column_step;
  const std::int64_t* taps;
  std::int64_t tap_count;
  const float *weights, *bias;
  float* out;
  std::int64_t pixels, filters;
  bool relu;
};

template <int together, int width>
struct ThinForwardLoop {
  using Vector = typename Lanes<width>::Vector;

  WEIR_INLINE void operator()(ThinRow row) const {
    for (std::int64_t first = 0; first < row.filters; first += width) {
      std::int64_t pixel = 0;
      for (; pixel + together <= row.pixels; pixel += together) tile<together>(row, pixel, first);
      for (; pixel < row.pixels; ++pixel) tile<1>(row, pixel, first);
    }
  }

 private:
  template <int count>
  WEIR_INLINE static void tile(const ThinRow& row, std::int64_t pixel, std::int64_t first) {
    Vector sums[count], start{};
    if (row.bias) std::memcpy(&start, row.bias + first, sizeof start);
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) sums[i] = start;
    const float* frame = row.frame + pixel * row.column_step;
    for (std::int64_t tap = 0; tap < row.tap_count; ++tap) {
      Vector weights;
      std::memcpy(&weights, row.weights + tap * row.filters + first, sizeof weights);
      const float* values = frame + row.taps[tap];
      WEIR_UNROLL
      for (int i = 0; i < count; ++i) sums[i] += values[i * row.column_step] * weights;
    }
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) {
      if (row.relu) sums[i] = sums[i] < 0 ? Vector{} : sums[i];
      std::memcpy(row.out + (pixel + i) * row.filters + first, &sums[i], sizeof sums[i]);
    }
  }
};

class ConvolutionThinForward final : public Executable {
 public:
  ConvolutionThinForward(const Recipe& recipe, std::span<void* const> buffers)
      : geometry_(recipe),
        src_(pointer<const float>(recipe, buffers, "src")),
        weights_(pointer<const float>(recipe, buffers, "weights")),
        bias_(pointer<const float>(recipe, buffers, "bias")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        relu_(recipe.attributes.has("post_op")),
        threads_(recipe.threads),
        frames_(static_cast<std::size_t>(threads_ * geometry_.frame_values)) {}

  void run() override {
    parallel(threads_, [&](int index, int team) {
      float* frame = frames_.data() + index * geometry_.frame_values;
      for (std::int64_t image = geometry_.batch * index / team; image < geometry_.batch * (index + 1) / team; ++image)
        compute(image, frame);
    });
  }

 private:
  void compute(std::int64_t image, float* frame) const {
    const ThinGeometry& g = geometry_;
    g.frame_image(src_ + image * g.height * g.row_values, frame);
    for (std::int64_t y = 0; y < g.out_height; ++y) {
      const ThinRow row{frame + y * g.row_step,
                        g.column_step,
                        g.taps.data(),
                        g.tap_count(),
                        weights_,
                        bias_,
                        dst_ + image * g.out_values() + y * g.out_width * g.filters,
                        g.out_width,
                        g.filters,
                        relu_};
#if defined(__x86_64__)
      if (instructions() == Instructions::avx512) {
        dispatch(ThinForwardLoop<8, 16>{}, row);
        continue;
      }
#endif
      dispatch(ThinForwardLoop<8, 8>{}, row);
    }
  }

  ThinGeometry geometry_;
  const float *src_, *weights_, *bias_;
  float* dst_;
  bool relu_;
  int threads_;
  std::vector<float> frames_;  ///< one a thread
};

constexpr OperandRule operands[] = {
    {"src"}, {"weights"}, {"bias", Access::read, DType::f32, true}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_thin(recipe, "weights", "dst", "bias");
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups", "post_op"});
  if (recipe.attributes.has("post_op")) word_setting(recipe, "post_op", {"relu"});
  constexpr std::int64_t strip = 16;
  if (recipe.operand("dst").shape.dims[3] % strip != 0) reject(recipe, "the filters must be a multiple of 16");
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ConvolutionThinForward>(recipe, buffers);
}

}  // namespace

extern const KernelDef convolution_thin_forward;
const KernelDef convolution_thin_forward{.name = "convolution_thin_forward",
                                         .summary = "convolution over images of few channels",
                                         .validate = validate,
                                         .create = create};

}  // namespace weir::kernels
