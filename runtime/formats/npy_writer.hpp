// NumPy's .npy (version 1.0) and .npz (zip of .npy, stored): what predictions are written as.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "runtime/tensor.hpp"

namespace weir {

/// The file as bytes; the data start on a multiple of 64.
std::string npy_bytes(const TensorView& tensor);
/// The same archive for the same tensors: members in the order of their names, all with the same date.
std::string npz_bytes(const std::map<std::string, TensorView>& tensors);

/// Replace `path` completely or not at all (durable_file.hpp). Throw Error(io_error).
void write_npy(const std::filesystem::path& path, const TensorView& tensor);
void write_npz(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors);

}  // namespace weir
