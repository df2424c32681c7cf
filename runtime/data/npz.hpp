// NumPy's .npz: a zip archive whose members are .npy files, stored or deflated, read through libzip.
#pragma once

#include "runtime/data/array.hpp"

namespace weir {

bool looks_like_zip(std::span<const std::byte> start);

/// `member` without ".npy"; empty takes the only array. The stream must be seekable.
SourceArray read_npz(std::istream& stream, const std::string& name, const std::string& member);

}  // namespace weir
