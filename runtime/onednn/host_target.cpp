#include "runtime/onednn/host_target.hpp"

#include "runtime/error.hpp"
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir {
namespace {

/// Dense layers of up to so many operations are computed by kernels of our own, on one thread: a call of the library
/// costs some half a microsecond beside its arithmetic, a second thread another one. Measured with 1 and 2 threads on
/// AVX-512, where both take 2.5 us for a product of this size. Fewer rows than a tile of ours has are the library's.
constexpr double small_dense_flops = 1 << 18;
constexpr std::int64_t least_rows = 8;

bool is_small_dense(const Recipe& open) {
  if (!open.kernel.starts_with("inner_product_")) return false;
  if (open.attributes.has("post_op") && open.attributes.word("post_op") != "relu") return false;
  const RecipeOperand* rows = open.find("dst");
  if (!rows) rows = open.find("diff_dst");
  return rows && !rows->shape.dims.empty() && rows->shape.dims[0] >= least_rows && flops_of(open) <= small_dense_flops;
}

/// The gradient of a kernel over many rows: the library copies the rows transposed first, ours need not be. Measured on
/// AVX-512 with 2048 rows, 128 and 512 columns: faster by a tenth to a half; with 128 rows nothing is gained.
constexpr std::int64_t tall_rows = 512, tall_columns = 32;

bool is_tall_dense(const Recipe& open) {
  if (open.kernel != "inner_product_backward_weights") return false;
  const Dims &src = open.operand("src").shape.dims, &diff_dst = open.operand("diff_dst").shape.dims;
  return src[0] >= tall_rows && src[1] >= tall_columns && diff_dst[1] >= tall_columns;
}

Recipe as_tall_dense(Recipe recipe) {
  recipe.kernel = "dense_tall_backward_weights";
  return recipe;
}

/// The first layer of a network of images: so few channels leave most of a vector of the library's kernels empty, ours
/// run along the filters. Measured on AVX-512 for 28×28×1 and 32 filters of 3×3: faster by a half in both directions.
constexpr std::int64_t most_thin_channels = 4, filters_in_strip = 16;

bool is_thin_convolution(const Recipe& open) {
  if (open.kernel != "convolution_forward" && open.kernel != "convolution_backward_weights") return false;
  if (open.attributes.has("post_op") && open.attributes.word("post_op") != "relu") return false;
  const bool forward = open.kernel == "convolution_forward";
  const Shape &image = open.operand("src").shape, &out = open.operand(forward ? "dst" : "diff_dst").shape,
              &kernel = open.operand(forward ? "weights" : "diff_weights").shape;
  if (image.layout != "nhwc" || out.layout != "nhwc" || kernel.axes != "hwio") return false;
  if (image.dims[3] > most_thin_channels || out.dims[3] % filters_in_strip != 0) return false;
  const auto& padding = open.attributes.integers("padding");
  for (std::size_t i = 0; i < 4; ++i)
    if (padding[i] >= kernel.dims[i / 2]) return false;
  return open.attributes.integers("dilation") == std::vector<std::int64_t>{1, 1};
}

Recipe as_thin_convolution(Recipe recipe) {
  recipe.kernel.replace(0, std::string_view("convolution").size(), "convolution_thin");
  return recipe;
}

/// A second thread starts and ends a step some microseconds late; so long one thread needs for less than this.
constexpr double lone_flops = 1 << 18, lone_values = 1 << 14;

bool is_for_one_thread(const Recipe& open) {
  double values = 0;
  for (const RecipeOperand& operand : open.operands) values += static_cast<double>(element_count(operand.shape.dims));
  return values <= lone_values && flops_of(open) <= lone_flops;
}

/// "inner_product_forward" as "dense_forward": the same operands, in canonical layouts.
Recipe as_own_dense(Recipe recipe) {
  recipe.kernel.replace(0, std::string_view("inner_product").size(), "dense");
  recipe.threads = 1;
  return recipe;
}

class HostTarget : public Target {
 public:
  HostTarget(int threads, ActivationLayout activations) : threads_(threads), activations_(activations) {}

  Recipe close(const Recipe& open) const override {
    Recipe closed = is_small_dense(open)        ? as_own_dense(open)
                    : is_tall_dense(open)       ? as_tall_dense(open)
                    : is_thin_convolution(open) ? as_thin_convolution(open)
                                                : open;
    if (is_for_one_thread(open)) closed.threads = 1;
    if (is_primitive(closed.kernel)) return close_primitive(closed);
    for (RecipeOperand& operand : closed.operands)
      if (operand.shape.layout == "any") operand.shape.layout = operand.shape.axes;
    validate_recipe(closed);
    return closed;
  }

  std::string activation_layout(const Dims& dims, const std::string& axes) const override {
    if (axes != "nhwc") return axes;
    switch (activations_) {
      case ActivationLayout::nhwc:
        return axes;
      case ActivationLayout::blocked_8:
        return blocked(dims, 8);
      case ActivationLayout::blocked_16:
        return blocked(dims, 16);
      case ActivationLayout::by_machine:
        break;
    }
    return prefers_blocked_images() ? blocked(dims, 8) : axes;
  }

  std::string implementation(const Recipe& closed) const override {
    return is_primitive(closed.kernel) ? primitive_implementation(closed) : closed.kernel;
  }

  Fingerprint fingerprint() const override { return {library_version(), instruction_set(), threads_}; }

 private:
  static std::string blocked(const Dims& dims, std::int64_t block) {
    return dims.at(3) % block == 0 ? "nChw" + std::to_string(block) + "c" : "nhwc";
  }

  int threads_;
  ActivationLayout activations_;
};

}  // namespace

std::unique_ptr<Target> host_target(int threads, ActivationLayout activations) {
  if (threads < 1)
    throw Error(ErrorCode::invalid_argument,
                "the number of threads is " + std::to_string(threads) + "; it must be at least 1");
  return std::make_unique<HostTarget>(threads, activations);
}

std::unique_ptr<Target> host_target(int threads) { return host_target(threads, ActivationLayout::by_machine); }

}  // namespace weir
