// An array as a file holds it, in the file's element type: 60,000 images of bytes stay 47 MB. Conversion happens when
// a batch is gathered (dataset.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/formats/byte_reader.hpp"
#include "runtime/tensor.hpp"

namespace weir {

enum class SourceType : std::uint8_t { boolean, u8, i8, i16, i32, i64, f16, f32, f64 };

std::string_view to_string(SourceType type);
std::size_t size_of(SourceType type);  ///< bytes of one element
bool is_floating(SourceType type);

/// IEEE 754 binary16, exactly.
float half_to_float(std::uint16_t half);

/// Dense, row-major, little-endian; dims[0] counts samples.
struct SourceArray {
  SourceType type = SourceType::f32;
  Dims dims;
  std::vector<std::byte> bytes;
  std::string source;  ///< the file, for messages

  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

/// What a reader needs beside the bytes.
struct ArrayOptions {
  std::string member;                ///< which array of an .npz; empty: the only one
  std::vector<std::string> columns;  ///< which columns of a CSV file, in this order; empty: all
};

/// The array in `stream`, whose content (not its name) tells the format: .npy, .npz, IDX or CSV, each but .npz also
/// compressed with gzip. `name` is the file's, for messages. A stream that holds an .npz must be seekable.
/// Throws Error(invalid_data) for content that is wrong, Error(invalid_argument) for an option that does not fit the
/// format and Error(limit_exceeded) past 12 dimensions, 2^31 - 1 along one or 2^40 elements.
SourceArray read_array(std::istream& stream, const std::string& name, const ArrayOptions& options = {});

/// "f.npz:images" is {"f.npz", "images"}; a path without ".npz:" has no member.
struct ArrayPath {
  std::string file, member;
};
ArrayPath split_array_path(std::string_view path);

/// The data part of a file whose header promised `type` and `dims`: checks the product, the bytes that are there and
/// that nothing follows.
SourceArray read_dense(ByteReader& reader, SourceType type, Dims dims);

}  // namespace weir
