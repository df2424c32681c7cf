// Vectors of floats of one width, which the compiler keeps in as many registers as the instruction set needs.
#pragma once

namespace weir::kernels {

template <int width>
struct Lanes;
template <>
struct Lanes<4> {
  typedef float Vector __attribute__((vector_size(16)));
};
template <>
struct Lanes<8> {
  typedef float Vector __attribute__((vector_size(32)));
};
template <>
struct Lanes<16> {
  typedef float Vector __attribute__((vector_size(64)));
};

}  // namespace weir::kernels
