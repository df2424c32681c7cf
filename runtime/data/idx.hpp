// The IDX format of the MNIST files: 0, 0, type, number of dimensions, the sizes and the elements, all big-endian.
#pragma once

#include "runtime/data/array.hpp"

namespace weir {

bool looks_like_idx(std::span<const std::byte> start);
SourceArray read_idx(ByteReader& reader);

}  // namespace weir
