// Dense row-major tensors as the host sees them: batch first, images height, width, channels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {

enum class DType : std::uint8_t { f32, i32, f64, u8 };

using Dims = std::vector<std::int64_t>;

std::string_view to_string(DType dtype);
DType dtype_from_string(std::string_view name);  ///< throws Error(invalid_data) for a name that is none
std::size_t size_of(DType dtype);                ///< bytes of one element

/// Product of the dimensions (1 for a scalar). Throws Error(limit_exceeded) past 2^40 elements or on a negative
/// dimension.
std::int64_t element_count(const Dims& dims);

/// "[2, 3]"
std::string to_string(const Dims& dims);

/// Owns its bytes. Little-endian, row-major, no strides.
struct Tensor {
  DType dtype = DType::f32;
  Dims dims;
  std::vector<std::byte> bytes;

  Tensor() = default;
  Tensor(DType type, Dims shape);  ///< zero-filled

  template <class T>
  T* data() {
    return reinterpret_cast<T*>(bytes.data());
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
  std::int64_t count() const { return element_count(dims); }
};

/// Borrows: the owner keeps the memory alive for the length of the call.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::f32;
  Dims dims;

  TensorView() = default;
  TensorView(const void* values, DType type, Dims shape) : data(values), dtype(type), dims(std::move(shape)) {}
  TensorView(const Tensor& tensor) : data(tensor.bytes.data()), dtype(tensor.dtype), dims(tensor.dims) {}
};

}  // namespace weir
