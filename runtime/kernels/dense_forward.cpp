// dst = src · weights + bias, then relu where "post_op" says so. For small layers; one thread.
#include "runtime/dense_layer.hpp"
#include "runtime/kernel.hpp"
#include "runtime/kernels/buffers.hpp"
#include "runtime/kernels/small_product.hpp"

namespace weir::kernels {
namespace {

class DenseForward final : public Executable {
 public:
  DenseForward(const Recipe& recipe, std::span<void* const> buffers)
      : src_(pointer<const float>(recipe, buffers, "src")),
        weights_(pointer<const float>(recipe, buffers, "weights")),
        bias_(pointer<const float>(recipe, buffers, "bias")),
        dst_(pointer<float>(recipe, buffers, "dst")),
        rows_(recipe.operand("src").shape.dims[0]),
        in_(recipe.operand("src").shape.dims[1]),
        out_(recipe.operand("dst").shape.dims[1]),
        relu_(recipe.attributes.has("post_op")),
        strips_(in_, out_) {}

  void run() override {
    strips_.for_each(weights_, [&](std::int64_t first, std::int64_t columns, std::int64_t width, const float* strip,
                                   std::int64_t step) {
      float start[widest_strip] = {};
      if (bias_) std::copy_n(bias_ + first, columns, start);
      multiply({src_, in_, 1, strip, step, start, dst_ + first, out_, rows_, columns, in_, relu_, nullptr}, width);
    });
  }

 private:
  const float *src_, *weights_, *bias_;
  float* dst_;
  std::int64_t rows_, in_, out_;
  bool relu_;
  Strips strips_;
};

constexpr OperandRule operands[] = {
    {"src"}, {"weights"}, {"bias", Access::read, DType::f32, true}, {"dst", Access::write}};

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  for (const RecipeOperand& operand : recipe.operands) check_dense(recipe, operand.role);
  check_dense_layer(recipe);
  check_attribute_names(recipe, {"post_op"});
  if (recipe.attributes.has("post_op")) word_setting(recipe, "post_op", {"relu"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<DenseForward>(recipe, buffers);
}

}  // namespace

extern const KernelDef dense_forward;
const KernelDef dense_forward{
    .name = "dense_forward", .summary = "small dense layer", .validate = validate, .create = create};

}  // namespace weir::kernels
