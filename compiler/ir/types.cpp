#include "compiler/ir/types.hpp"

namespace weir {

Dims full_dims(const TensorType& type, std::int64_t batch) {
  Dims dims = type.dims;
  if (type.batched) dims.insert(dims.begin(), batch);
  return dims;
}

std::string to_string(const TensorType& type) {
  std::string text = std::string(to_string(type.dtype)) + "[";
  if (type.batched) text += type.dims.empty() ? "B" : "B, ";
  for (std::size_t i = 0; i < type.dims.size(); ++i) text += (i ? ", " : "") + std::to_string(type.dims[i]);
  return text + "]";
}

}  // namespace weir
