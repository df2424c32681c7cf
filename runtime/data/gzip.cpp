#include "runtime/data/gzip.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <zlib.h>

#include "runtime/error.hpp"

namespace weir {
namespace {

class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<ByteReader> compressed) : compressed_(std::move(compressed)), input_(65536) {
    constexpr int window_and_gzip_header = 15 + 16;
    if (inflateInit2(&stream_, window_and_gzip_header) != Z_OK)
      throw Error(ErrorCode::resource_exhausted, compressed_->name() + ": zlib has no memory to decompress with");
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() override { inflateEnd(&stream_); }

  std::size_t read(std::byte* to, std::size_t size) override {
    std::size_t done = 0;
    while (done < size && !finished_) done += inflate_piece(to + done, size - done);
    return done;
  }

  std::uint64_t at_most() const override {
    if (finished_) return 0;
    const std::uint64_t left = compressed_->at_most();
    if (left > unknown / largest_deflate_ratio - input_.size()) return unknown;
    return (left + stream_.avail_in + 1) * largest_deflate_ratio;
  }

 private:
  void refill() {
    const std::size_t count = compressed_->read_some(input_.data(), input_.size());
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(count);
  }

  std::size_t inflate_piece(std::byte* to, std::size_t size) {
    if (stream_.avail_in == 0) refill();
    const auto room = static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
    stream_.next_out = reinterpret_cast<Bytef*>(to);
    stream_.avail_out = room;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      next_member();
    } else if (status == Z_BUF_ERROR) {
      compressed_->fail("the gzip data are cut off");
    } else if (status != Z_OK) {
      compressed_->fail(fmt::format("the gzip data are damaged: {}", stream_.msg ? stream_.msg : "no dictionary"));
    }
    return room - stream_.avail_out;
  }

  void next_member() {
    if (stream_.avail_in == 0) refill();
    finished_ = stream_.avail_in == 0;
    if (!finished_) inflateReset(&stream_);
  }

  std::unique_ptr<ByteReader> compressed_;
  std::vector<std::byte> input_;
  z_stream stream_ = {};
  bool finished_ = false;
};

}  // namespace

bool looks_like_gzip(std::span<const std::byte> start) {
  return start.size() >= 2 && start[0] == std::byte{0x1F} && start[1] == std::byte{0x8B};
}

std::unique_ptr<ByteSource> gzip_source(std::unique_ptr<ByteReader> compressed) {
  return std::make_unique<GzipSource>(std::move(compressed));
}

}  // namespace weir
