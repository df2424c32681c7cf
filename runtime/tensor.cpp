#include "runtime/tensor.hpp"

#include "runtime/error.hpp"

namespace weir {

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::i32:
      return "i32";
    case DType::f64:
      return "f64";
    case DType::u8:
      return "u8";
  }
  return "?";
}

DType dtype_from_string(std::string_view name) {
  for (DType dtype : {DType::f32, DType::i32, DType::f64, DType::u8})
    if (to_string(dtype) == name) return dtype;
  throw Error(ErrorCode::invalid_data, "unknown dtype \"" + std::string(name) + "\"; known: f32, i32, f64, u8");
}

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::u8:
      return 1;
    default:
      return 4;
  }
}

std::int64_t element_count(const Dims& dims) {
  constexpr std::int64_t limit = std::int64_t{1} << 40;
  std::int64_t count = 1;
  bool empty = false;
  for (std::int64_t extent : dims) {
    if (extent < 0) throw Error(ErrorCode::limit_exceeded, "negative dimension in " + to_string(dims));
    if (extent == 0) {
      empty = true;
      continue;
    }
    if (count > limit / extent)
      throw Error(ErrorCode::limit_exceeded, to_string(dims) + " has more than 2^40 elements");
    count *= extent;
  }
  return empty ? 0 : count;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

Tensor::Tensor(DType type, Dims shape)
    : dtype(type), dims(std::move(shape)), bytes(static_cast<std::size_t>(element_count(dims)) * size_of(type)) {}

}  // namespace weir
