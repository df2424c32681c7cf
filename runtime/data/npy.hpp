// NumPy's .npy, versions 1.0 to 3.0: a magic number, an ASCII Python dict (descr, fortran_order, shape), the elements.
// Little-endian C order only; pickled objects are refused, never loaded.
#pragma once

#include "runtime/data/array.hpp"

namespace weir {

bool looks_like_npy(std::span<const std::byte> start);
SourceArray read_npy(ByteReader& reader);

}  // namespace weir
