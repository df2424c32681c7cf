// dst = src * weights + bias, then relu where "post_op" says so, for kernels of 3 × 3 (winograd.hpp).
#include "runtime/kernels/winograd_product.hpp"

namespace weir::kernels {
namespace {

constexpr OperandRule operands[] = {{"src"},
                                    {"weights"},
                                    {"bias", Access::read, DType::f32, true},
                                    {"dst", Access::write},
                                    {"scratch", Access::write, DType::u8}};

std::int64_t scratch_bytes(const Recipe& recipe) {
  return WinogradProduct::scratch_values(recipe, "src", "dst") * static_cast<std::int64_t>(sizeof(float));
}

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_winograd(recipe, "src", "weights", "dst");
  check_scratch(recipe, scratch_bytes(recipe));
  if (const RecipeOperand* bias = recipe.find("bias");
      bias && bias->shape.dims != Dims{recipe.operand("dst").shape.dims[3]})
    reject(recipe, "the bias must have one value for each output channel");
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups", "post_op"});
  if (recipe.attributes.has("post_op")) word_setting(recipe, "post_op", {"relu"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<WinogradProduct>(recipe, buffers, "src", "dst");
}

}  // namespace

extern const KernelDef convolution_winograd_forward;
const KernelDef convolution_winograd_forward{.name = "convolution_winograd_forward",
                                             .summary = "convolution of 3 by 3 with fewer products",
                                             .validate = validate,
                                             .create = create,
                                             .scratch_bytes = scratch_bytes};

}  // namespace weir::kernels
