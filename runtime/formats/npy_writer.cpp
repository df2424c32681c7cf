#include "runtime/formats/npy_writer.hpp"

#include <span>
#include <vector>

#include <fmt/format.h>
#include <zip.h>

#include "runtime/error.hpp"
#include "runtime/formats/durable_file.hpp"

namespace weir {
namespace {

std::string_view descr(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "<f4";
    case DType::i32:
      return "<i4";
    case DType::f64:
      return "<f8";
    case DType::u8:
      return "|u1";
  }
  return "?";
}

/// (), (3,) or (3, 4), as Python prints a tuple.
std::string tuple(const Dims& dims) {
  std::string list = to_string(dims);
  list.front() = '(';
  list.back() = ')';
  return dims.size() == 1 ? list.insert(list.size() - 1, 1, ',') : list;
}

std::string npy_start(const TensorView& tensor) {
  constexpr std::size_t fixed = 10, alignment = 64;
  std::string dict =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr(tensor.dtype), tuple(tensor.dims));
  dict.append(alignment - 1 - (fixed + dict.size()) % alignment, ' ');
  dict += '\n';
  WEIR_CHECK(dict.size() < 65536, "an .npy header longer than version 1.0 allows");
  std::string start("\x93NUMPY\1\0", 8);
  start += static_cast<char>(dict.size() & 0xFF);
  start += static_cast<char>(dict.size() >> 8);
  return start + dict;
}

std::span<const std::byte> data_of(const TensorView& tensor) {
  return {static_cast<const std::byte*>(tensor.data),
          static_cast<std::size_t>(element_count(tensor.dims)) * size_of(tensor.dtype)};
}

/// An archive that grows in memory.
class ZipBuffer {
 public:
  ZipBuffer() : buffer_(zip_source_buffer_create(nullptr, 0, 0, nullptr)) {
    archive_ = buffer_ ? zip_open_from_source(buffer_, ZIP_TRUNCATE, nullptr) : nullptr;
    if (!archive_) {
      zip_source_free(buffer_);
      throw Error(ErrorCode::resource_exhausted, "no memory for an .npz archive");
    }
    zip_source_keep(buffer_);
  }
  ZipBuffer(const ZipBuffer&) = delete;
  ZipBuffer& operator=(const ZipBuffer&) = delete;
  ~ZipBuffer() {
    if (archive_) zip_discard(archive_);
    zip_source_free(buffer_);
  }

  /// `content` lives until bytes() returned.
  void add(const std::string& name, const std::string& content) {
    zip_source_t* source = zip_source_buffer(archive_, content.data(), content.size(), 0);
    const zip_int64_t index = source ? zip_file_add(archive_, name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
    if (index < 0 && source) zip_source_free(source);
    check(index >= 0);
    const auto place = static_cast<zip_uint64_t>(index);
    constexpr zip_uint16_t first_of_january_1980 = 1 << 5 | 1;
    check(zip_set_file_compression(archive_, place, ZIP_CM_STORE, 0) == 0);
    check(zip_file_set_dostime(archive_, place, 0, first_of_january_1980, 0) == 0);
  }

  std::string bytes() {
    check(zip_close(archive_) == 0);
    archive_ = nullptr;
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_source_open(buffer_) != 0 || zip_source_stat(buffer_, &stat) != 0)
      throw Error(ErrorCode::internal, "an .npz archive cannot be read back from memory");
    std::string result(stat.size, '\0');
    const zip_int64_t count = zip_source_read(buffer_, result.data(), result.size());
    zip_source_close(buffer_);
    WEIR_CHECK(count == static_cast<zip_int64_t>(result.size()), "an .npz archive came back short");
    return result;
  }

 private:
  void check(bool done) const {
    if (!done) throw Error(ErrorCode::internal, std::string("writing an .npz archive: ") + zip_strerror(archive_));
  }

  zip_source_t* buffer_;
  zip_t* archive_ = nullptr;
};

}  // namespace

std::string npy_bytes(const TensorView& tensor) {
  std::string bytes = npy_start(tensor);
  const auto data = data_of(tensor);
  if (!data.empty()) bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  return bytes;
}

std::string npz_bytes(const std::map<std::string, TensorView>& tensors) {
  WEIR_CHECK(!tensors.empty(), "an .npz without arrays");
  std::vector<std::string> contents;
  contents.reserve(tensors.size());
  ZipBuffer archive;
  for (const auto& [name, tensor] : tensors) archive.add(name + ".npy", contents.emplace_back(npy_bytes(tensor)));
  return archive.bytes();
}

void write_npy(const std::filesystem::path& path, const TensorView& tensor) {
  const std::string start = npy_start(tensor);
  const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(start)), data_of(tensor)};
  write_durably(path, pieces);
}

void write_npz(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors) {
  write_durably(path, npz_bytes(tensors));
}

}  // namespace weir
