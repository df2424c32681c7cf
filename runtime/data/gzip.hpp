// gzip (RFC 1952) as a source of bytes, through zlib: several members follow each other as gunzip reads them; the check
// sum and the length of each are verified.
#pragma once

#include "runtime/formats/byte_reader.hpp"

namespace weir {

bool looks_like_gzip(std::span<const std::byte> start);

/// DEFLATE cannot expand by more than this.
inline constexpr std::uint64_t largest_deflate_ratio = 1032;

/// Decompresses what `compressed` holds from here to its end.
std::unique_ptr<ByteSource> gzip_source(std::unique_ptr<ByteReader> compressed);

}  // namespace weir
