#include "runtime/onednn/ways.hpp"

#include <algorithm>

#include "runtime/kernel.hpp"
#include "runtime/kernels/winograd.hpp"
#include "runtime/onednn/engine.hpp"
#include "runtime/onednn/primitives.hpp"
#include "runtime/recipe_cost.hpp"

namespace weir {
namespace {

bool has_plain_result(const Recipe& open) {
  return !open.attributes.has("post_op") || open.attributes.word("post_op") == "relu";
}

/// Dense layers of up to so many operations are computed by kernels of our own, on one thread: a call of the library
/// costs some half a microsecond beside its arithmetic, a second thread another one. Measured with 1 and 2 threads on
/// AVX-512, where both take 2.5 us for a product of this size. Fewer rows than a tile of ours has are the library's.
constexpr double small_dense_flops = 1 << 18, most_dense_flops = 1 << 21;
constexpr std::int64_t least_rows = 8;

bool is_dense_below(const Recipe& open, double most_flops) {
  if (!open.kernel.starts_with("inner_product_") || !has_plain_result(open)) return false;
  const RecipeOperand* rows = open.find("dst");
  if (!rows) rows = open.find("diff_dst");
  return rows && !rows->shape.dims.empty() && rows->shape.dims[0] >= least_rows && flops_of(open) <= most_flops;
}

/// The gradient of a kernel over many rows: the library copies the rows transposed first, ours need not be. Measured on
/// AVX-512 with 2048 rows, 128 and 512 columns: faster by a tenth to a half; with 128 rows nothing is gained. Without
/// the widest vectors rows of a multiple of 128 columns cost the library a third of its time, from 32 rows on.
constexpr std::int64_t tall_rows = 512, tall_columns = 32, colliding_rows = 32, colliding_columns = 128;

bool is_tall_dense(const Recipe& open, std::int64_t least_columns) {
  if (open.kernel != "inner_product_backward_weights") return false;
  const Dims &src = open.operand("src").shape.dims, &diff_dst = open.operand("diff_dst").shape.dims;
  const bool collides = !has_widest_vectors() && src[1] % colliding_columns == 0;
  return src[0] >= (collides ? colliding_rows : tall_rows) && src[1] >= least_columns && diff_dst[1] >= least_columns;
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
  if (!has_plain_result(open)) return false;
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

/// Ones that the library must not compute without the widest vectors: see refuse_outgrown_scratch in convolution.cpp.
bool outgrows_scratch(const Recipe& open) {
  if (open.kernel != "convolution_backward_weights" || has_widest_vectors()) return false;
  const Shape &image = open.operand("src").shape, &out = open.operand("diff_dst").shape,
              &kernel = open.operand("diff_weights").shape;
  if (image.layout != "nhwc" || out.layout != "nhwc" || kernel.axes != "hwio" || image.dims[3] >= 8) return false;
  const auto &strides = open.attributes.integers("strides"), &padding = open.attributes.integers("padding");
  return kernel.dims[0] * kernel.dims[1] == 1 && *std::max_element(strides.begin(), strides.end()) > 1 &&
         *std::max_element(padding.begin(), padding.end()) == 0;
}

Recipe as_thin_convolution(Recipe recipe) {
  recipe.kernel.replace(0, std::string_view("convolution").size(), "convolution_thin");
  recipe.attributes.set("dilation", Dims{1, 1});  // which changes nothing of one cell
  return recipe;
}

/// "inner_product_forward" as "dense_forward": the same operands, in canonical layouts.
Recipe as_own_dense(Recipe recipe) {
  recipe.kernel.replace(0, std::string_view("inner_product").size(), "dense");
  recipe.threads = 1;
  return recipe;
}

/// Without the widest vectors the library takes more than twice the time of ours for pools of 2 × 2 (AVX2, 28 × 28 to 7
/// × 7, 32 to 128 channels); with them it takes as long, or less.
bool is_max_pooling_gradient(const Recipe& open) {
  if (has_widest_vectors() || open.kernel != "pooling_backward" || open.attributes.word("algorithm") != "max")
    return false;
  if (open.operand("workspace").dtype != DType::u8) return false;
  const Shape& image = open.operand("diff_src").shape;
  if (image.axes != "nhwc" || (image.layout != "nhwc" && image.layout != "nChw8c" && image.layout != "nChw16c"))
    return false;
  return std::all_of(open.operands.begin(), open.operands.end(),
                     [&](const RecipeOperand& operand) { return operand.shape.layout == image.layout; });
}

Recipe as_own_pooling(Recipe recipe) {
  recipe.kernel = "pooling_max_backward";
  return recipe;
}

bool all_are(const std::vector<std::int64_t>& numbers, std::int64_t wanted) {
  return std::all_of(numbers.begin(), numbers.end(), [&](std::int64_t number) { return number == wanted; });
}

bool is_image(const RecipeOperand& operand) { return operand.shape.axes == "nhwc"; }
bool is_kernel(const RecipeOperand& operand) { return operand.shape.axes == "hwio"; }

/// A convolution of 3 × 3 at steps of one pixel, over channels that fill vectors, of enough tiles for every thread to
/// have some: a thread spreads the whole kernel first. Measured with 1 and 2 threads on AVX-512 and AVX2, 16 to 256
/// channels, images of 4 × 4 to 64 × 64: faster by 1.1 to 2.2 in all directions; with fewer tiles down to a half.
constexpr std::int64_t least_winograd_extent = 4, most_winograd_weights = 9 << 16;

bool is_winograd_convolution(const Recipe& open) {
  const bool one_of_three = open.kernel == "convolution_forward" || open.kernel == "convolution_backward_data" ||
                            open.kernel == "convolution_backward_weights";
  if (!one_of_three || !has_plain_result(open)) return false;
  if (!prefers_blocked_images() && !has_widest_vectors()) return false;
  const auto& padding = open.attributes.integers("padding");
  const bool plain = all_are(open.attributes.integers("strides"), 1) &&
                     all_are(open.attributes.integers("dilation"), 1) && open.attributes.integer("groups") == 1;
  if (!plain || *std::max_element(padding.begin(), padding.end()) > 2) return false;
  return std::all_of(open.operands.begin(), open.operands.end(), [&](const RecipeOperand& operand) {
    const auto& [dims, axes, layout] = operand.shape;
    if (is_kernel(operand)) return dims[0] == 3 && dims[1] == 3 && element_count(dims) <= most_winograd_weights;
    if (!is_image(operand)) return axes == "o";
    const std::int64_t rows = (dims[1] + 1) / 2, columns = (dims[2] + 1) / 2;
    return (layout == "nhwc" || layout == "nChw8c") && dims[3] % 8 == 0 && dims[1] >= least_winograd_extent &&
           dims[2] >= least_winograd_extent && dims[0] * rows * columns >= kernels::chunk_tiles * open.threads;
  });
}

Recipe as_winograd_convolution(Recipe recipe) {
  recipe.kernel.replace(0, std::string_view("convolution").size(), "convolution_winograd");
  return recipe;
}

/// A convolution whose window is one cell and moves by one: each pixel is a row of its own.
bool is_product_of_rows(const Recipe& open) {
  if (!open.kernel.starts_with("convolution_") || open.kernel.starts_with("convolution_thin")) return false;
  for (const RecipeOperand& operand : open.operands) {
    const Dims& dims = operand.shape.dims;
    if (is_image(operand) && operand.shape.layout != "nhwc") return false;
    if (is_kernel(operand) && (dims[0] != 1 || dims[1] != 1)) return false;
    if (dims.size() == 5) return false;  // groups
  }
  return all_are(open.attributes.integers("strides"), 1) && all_are(open.attributes.integers("padding"), 0) &&
         open.attributes.integer("groups") == 1;
}

/// Same bytes: images as rows "nc", the kernel as "io".
Recipe as_product_of_rows(const Recipe& open) {
  Recipe product{.kernel = "inner_product" + open.kernel.substr(std::string_view("convolution").size()),
                 .operands = open.operands,
                 .threads = open.threads};
  if (open.attributes.has("post_op")) product.attributes.set("post_op", open.attributes.word("post_op"));
  for (RecipeOperand& operand : product.operands) {
    const Dims dims = operand.shape.dims;
    if (is_image(operand)) operand.shape = {{dims[0] * dims[1] * dims[2], dims[3]}, "nc", "nc"};
    if (is_kernel(operand)) operand.shape = {{dims[2], dims[3]}, "io", operand.shape.layout == "any" ? "any" : "io"};
  }
  return product;
}

/// The kernel's gradient of such a convolution as that of a dense layer, where many channels become few: the library
/// shares the work out among threads by the latter. Measured on AVX-512 with 288 to 1152 pixels, 192 to 576 channels
/// and 32 to 96: faster by a tenth, with 2 threads by a half. The other way about, with 72 pixels or with 24 channels
/// it is slower.
constexpr std::int64_t least_pixels = 256, least_outputs = 32;

bool is_narrowing_convolution(const Recipe& open) {
  if (open.kernel != "convolution_backward_weights" || !is_product_of_rows(open) || !has_widest_vectors()) return false;
  const Dims &src = open.operand("src").shape.dims, &diff_dst = open.operand("diff_dst").shape.dims;
  return src[0] * src[1] * src[2] >= least_pixels && diff_dst[3] >= least_outputs && src[3] >= 2 * diff_dst[3];
}

/// A second thread starts and ends a step some microseconds late; so long one thread needs for less than this.
constexpr double lone_flops = 1 << 18, lone_values = 1 << 14;

bool is_for_one_thread(const Recipe& open) {
  double values = 0;
  for (const RecipeOperand& operand : open.operands) values += static_cast<double>(element_count(operand.shape.dims));
  return values <= lone_values && flops_of(open) <= lone_flops;
}

/// Updates of several parameters run as one step, whose team is not that of one of them.
bool may_share_a_step(const Recipe& recipe) {
  const KernelDef* kernel = find_kernel(recipe.kernel);
  return kernel && !kernel->repeats.empty();
}

void add(std::vector<Recipe>& ways, Recipe way) {
  if (std::find(ways.begin(), ways.end(), way) == ways.end()) ways.push_back(std::move(way));
}

}  // namespace

Recipe usual_way(const Recipe& open) {
  Recipe way = is_dense_below(open, small_dense_flops) ? as_own_dense(open)
               : is_tall_dense(open, tall_columns)     ? as_tall_dense(open)
               : is_thin_convolution(open)             ? as_thin_convolution(open)
               : outgrows_scratch(open)                ? as_thin_convolution(open)
               : is_winograd_convolution(open)         ? as_winograd_convolution(open)
               : is_narrowing_convolution(open)        ? as_tall_dense(as_product_of_rows(open))
               : is_max_pooling_gradient(open)         ? as_own_pooling(open)
                                                       : open;
  if (is_for_one_thread(open)) way.threads = 1;
  return way;
}

std::vector<Recipe> ways_of(const Recipe& open) {
  std::vector<Recipe> ways{usual_way(open)};
  if (may_share_a_step(open) || outgrows_scratch(open)) return ways;
  std::vector<Recipe> forms{open};
  if (is_thin_convolution(open)) forms.push_back(as_thin_convolution(open));
  if (is_winograd_convolution(open)) forms.push_back(as_winograd_convolution(open));
  if (is_max_pooling_gradient(open)) forms.push_back(as_own_pooling(open));
  if (is_product_of_rows(open)) forms.push_back(as_product_of_rows(open));
  for (const Recipe& form : forms)
    for (int team : {open.threads, 1}) {
      Recipe way = form;
      way.threads = team;
      add(ways, way);
      if (is_dense_below(way, most_dense_flops)) add(ways, as_own_dense(way));
      if (is_tall_dense(way, 1)) add(ways, as_tall_dense(way));
    }
  return ways;
}

std::string name_of_way(const Recipe& way) { return way.kernel + "/" + std::to_string(way.threads); }

Recipe close_way(const Recipe& way) {
  if (is_primitive(way.kernel)) return close_primitive(way);
  Recipe closed = way;
  for (RecipeOperand& operand : closed.operands)
    if (operand.shape.layout == "any") operand.shape.layout = operand.shape.axes;
  if (const KernelDef* kernel = find_kernel(closed.kernel); kernel && kernel->scratch_bytes)
    closed.operands.push_back({"scratch", Access::write, DType::u8, {{kernel->scratch_bytes(closed)}, "x", "x"}});
  validate_recipe(closed);
  return closed;
}

}  // namespace weir
