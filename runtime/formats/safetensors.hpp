// safetensors: a 64-bit length, a JSON header (name, dtype, shape, offsets), the tensors. What weights are exchanged
// in. The reader is as strict as the format's own: names are unique, the tensors tile the rest of the file exactly. The
// writer orders tensors by dtype (the widest first), then by name, and pads the header to a multiple of 8, so equal
// tensors give equal files.
#pragma once

#include <filesystem>
#include <istream>
#include <map>
#include <string>

#include "runtime/tensor.hpp"

namespace weir {

using Metadata = std::map<std::string, std::string>;

/// The tensors of `stream`; F32, F64, I32 and U8 become f32, f64, i32 and u8. `source_name` starts every message.
/// `metadata`, where given, receives the header's "__metadata__".
/// Throws Error(invalid_data), also for other dtypes, and Error(limit_exceeded) past a header of 100,000,000 bytes,
/// 200,000 tensors, 12 dimensions or 2^40 elements. Allocates no more than the stream really holds.
std::map<std::string, Tensor> read_safetensors(std::istream& stream, const std::string& source_name,
                                               Metadata* metadata = nullptr);

/// The file as bytes. Throws Error(invalid_argument) for a tensor named "__metadata__".
std::string safetensors_bytes(const std::map<std::string, TensorView>& tensors, const Metadata& metadata = {});

/// Replaces `path` completely or not at all (durable_file.hpp). Throws Error(io_error).
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const Metadata& metadata = {});

}  // namespace weir
