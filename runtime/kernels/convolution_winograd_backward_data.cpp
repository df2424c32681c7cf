// diff_src = the gradient by its image of a convolution of 3 × 3 (winograd.hpp).
#include "runtime/kernels/winograd_product.hpp"

namespace weir::kernels {
namespace {

constexpr OperandRule operands[] = {
    {"diff_dst"}, {"weights"}, {"diff_src", Access::write}, {"scratch", Access::write, DType::u8}};

std::int64_t scratch_bytes(const Recipe& recipe) {
  return WinogradProduct::scratch_values(recipe, "diff_dst", "diff_src") * static_cast<std::int64_t>(sizeof(float));
}

void validate(const Recipe& recipe) {
  check_operands(recipe, operands);
  check_winograd(recipe, "diff_src", "weights", "diff_dst");
  check_scratch(recipe, scratch_bytes(recipe));
  check_attribute_names(recipe, {"strides", "dilation", "padding", "groups"});
}

std::unique_ptr<Executable> create(const Recipe& recipe, std::span<void* const> buffers) {
  return std::make_unique<WinogradProduct>(recipe, buffers, "diff_dst", "diff_src");
}

}  // namespace

extern const KernelDef convolution_winograd_backward_data;
const KernelDef convolution_winograd_backward_data{
    .name = "convolution_winograd_backward_data",
    .summary = "gradient of a convolution of 3 by 3 by its image, with fewer products",
    .validate = validate,
    .create = create,
    .scratch_bytes = scratch_bytes};

}  // namespace weir::kernels
