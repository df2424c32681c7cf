// diff_weights = Σ over images and pixels of src at each tap · diff_dst, diff_bias = Σ of diff_dst, for images of few
// channels (convolution_thin.hpp). Images are summed up in blocks of a fixed number, the blocks in their order.
#include "runtime/kernel.hpp"
#include "runtime/kernels/convolution_thin.hpp"

namespace weir::kernels {
namespace {

/// All pixels of one image; what comes out is added to `sums` [taps, filters] and `bias` [filters].
struct ThinImage {
  const float* frame;
  const ThinGeometry* geometry;
  const float* diff_dst;
  float *sums, *bias;
};

template <int most, int width>
struct ThinWeightsLoop {
  WEIR_INLINE void operator()(ThinImage image) const {
    std::int64_t first = 0;
    for (; first + width <= image.geometry->filters; first += width) strip<typename Lanes<width>::Vector>(image, first);
    for (; first < image.geometry->filters; ++first) strip<float>(image, first);
  }

 private:
  /// As many filters as a vector has places.
  template <class Vector>
  WEIR_INLINE static void strip(const ThinImage& image, std::int64_t first) {
    const std::int64_t taps = image.geometry->tap_count();
    std::int64_t tap = 0;
    for (; tap + most <= taps; tap += most) some<most, Vector>(image, first, tap);
    for (; tap + 3 <= taps; tap += 3) some<3, Vector>(image, first, tap);
    for (; tap < taps; ++tap) some<1, Vector>(image, first, tap);
    if (image.bias) add_bias<Vector>(image, first);
  }

  template <int count, class Vector>
  WEIR_INLINE static void some(const ThinImage& image, std::int64_t first, std::int64_t tap) {
    const ThinGeometry& g = *image.geometry;
    Vector sums[count];
    std::int64_t taps[count];
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) {
      std::memcpy(&sums[i], image.sums + (tap + i) * g.filters + first, sizeof sums[i]);
      taps[i] = g.taps[static_cast<std::size_t>(tap + i)];
    }
    const float* gradient = image.diff_dst + first;
    for (std::int64_t y = 0; y < g.out_height; ++y) {
      const float* frame = image.frame + y * g.row_step;
      for (std::int64_t x = 0; x < g.out_width; ++x, frame += g.column_step, gradient += g.filters) {
        Vector factor;
        std::memcpy(&factor, gradient, sizeof factor);
        WEIR_UNROLL
        for (int i = 0; i < count; ++i) sums[i] += frame[taps[i]] * factor;
      }
    }
    WEIR_UNROLL
    for (int i = 0; i < count; ++i) std::memcpy(image.sums + (tap + i) * g.filters + first, &sums[i], sizeof sums[i]);
  }

  template <class Vector>
  WEIR_INLINE static void add_bias(const ThinImage& image, std::int64_t first) {
    const ThinGeometry& g = *image.geometry;
    constexpr int chains = 4;
    Vector sums[chains] = {};
    const std::int64_t pixels = g.out_height * g.out_width;
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      Vector values;
      std::memcpy(&values, image.diff_dst + pixel * g.filters + first, sizeof values);
      sums[pixel % chains] += values;
    }
    Vector before;
    std::memcpy(&before, image.bias + first, sizeof before);
    before += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    std::memcpy(image.bias + first, &before, sizeof before);
  }
};

class ConvolutionThinBackwardWeights final : public Executable {
 public:
  ConvolutionThinBackwardWeights(const Recipe& recipe, std::span<void* const> buffers)
      : geometry_(recipe),
        src_(pointer<const float>(recipe, buffers, "src")),
        diff_dst_(pointer<const float>(recipe, buffers, "diff_dst")),
        diff_weights_(pointer<float>(recipe, buffers, "diff_weights")),
        diff_bias_(pointer<float>(recipe, buffers, "diff_bias")),
        threads_(recipe.threads),
        blocks_(geometry_.batch, together),
        weights_(geometry_.tap_count() * geometry_.filters),
        values_(weights_ + geometry_.filters),
        parts_(static_cast<std::size_t>(blocks_.count() * values_)),
        frames_(static_cast<std::size_t>(threads_ * geometry_.frame_values)) {}

  void run() override {
    const std::int64_t blocks = blocks_.count();
    parallel(static_cast<int>(std::min<std::int64_t>(threads_, blocks)), [&](int index, int team) {
      float* frame = frames_.data() + index * geometry_.frame_values;
      for (std::int64_t block = blocks * index / team; block < blocks * (index + 1) / team; ++block) sum(block, frame);
    });
    std::copy_n(parts_.data(), weights_, diff_weights_);
    if (diff_bias_) std::copy_n(parts_.data() + weights_, geometry_.filters, diff_bias_);
    for (std::int64_t block = 1; block < blocks_.count(); ++block) {
      const float* part = parts_.data() + block * values_;
      for (std::int64_t i = 0; i < weights_; ++i) diff_weights_[i] += part[i];
      for (std::int64_t i = 0; diff_bias_ && i < geometry_.filters; ++i) diff_bias_[i] += part[weights_ + i];
    }
  }

 private:
  void sum(std::int64_t block, float* frame) {
    const ThinGeometry& g = geometry_;
    float* part = parts_.data() + block * values_;
    std::fill_n(part, values_, 0.0f);
    for (std::int64_t image = block * together; image < std::min(g.batch, (block + 1) * together); ++image) {
      g.frame_image(src_ + image * g.height * g.row_values, frame);
      const ThinImage all{frame, &g, diff_dst_ + image * g.out_values(), part, diff_bias_ ? part + weights_ : nullptr};
#if defined(__x86_64__)
      if (instructions() == Instructions::avx512) {
        dispatch(ThinWeightsLoop<9, 16>{}, all);
        continue;
      }
#endif
      dispatch(ThinWeightsLoop<9, 8>{}, all);
    }
  }

  static constexpr std::int64_t together = 4;  ///< images in a block

  ThinGeometry geometry_;
  const float *src_, *diff_dst_;
  float *diff_weights_, *diff_bias_;
  int threads_;
  Blocks blocks_;
  std::int64_t weights_, values_;      ///< of the kernel; with the bias
  std::vector<float> parts_, frames_;  ///< one a block, one a thread
};

constexpr OperandRule operands[] = {
    {"src"}, {"diff_dst"}, {"diff_weights", Access::write}, {"diff_bias", Access::write, DType::f32, true}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_thin(recipe, "diff_weights", "diff_dst", "diff_bias");
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<ConvolutionThinBackwardWeights>(recipe, buffers);
}

}  // namespace

extern const KernelDef convolution_thin_backward_weights;
const KernelDef convolution_thin_backward_weights{
    .name = "convolution_thin_backward_weights",
    .summary = "gradients of a convolution over images of few channels by its kernel and bias",
    .validate = validate,
    .create = create};

}  // namespace weir::kernels
