#include "runtime/formats/byte_reader.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::size_t buffer_size = 65536;
constexpr std::size_t first_piece = std::size_t{1} << 20;

std::uint64_t bytes_left(std::istream& stream) {
  const auto here = stream.tellg();
  if (here < 0 || !stream.seekg(0, std::ios::end)) {
    stream.clear();
    return ByteSource::unknown;
  }
  const auto end = stream.tellg();
  stream.seekg(here);
  return end < here ? 0 : static_cast<std::uint64_t>(end - here);
}

}  // namespace

StreamSource::StreamSource(std::istream& stream, std::string name)
    : stream_(stream), name_(std::move(name)), left_(bytes_left(stream)) {}

std::size_t StreamSource::read(std::byte* to, std::size_t size) {
  stream_.read(reinterpret_cast<char*>(to), static_cast<std::streamsize>(size));
  if (stream_.bad()) throw Error(ErrorCode::io_error, name_ + ": reading failed");
  const auto count = static_cast<std::size_t>(stream_.gcount());
  if (left_ != unknown) left_ -= std::min<std::uint64_t>(left_, count);
  return count;
}

ByteReader::ByteReader(std::unique_ptr<ByteSource> source, std::string name)
    : source_(std::move(source)), name_(std::move(name)), buffer_(buffer_size) {}

bool ByteReader::refill() {
  begin_ = 0;
  end_ = source_->read(buffer_.data(), buffer_.size());
  return end_ > 0;
}

std::span<const std::byte> ByteReader::peek(std::size_t count) {
  WEIR_CHECK(count <= buffer_.size(), "peeking past the buffer");
  if (end_ - begin_ < count) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    end_ += source_->read(buffer_.data() + end_, buffer_.size() - end_);
  }
  return {buffer_.data() + begin_, std::min(count, end_ - begin_)};
}

std::size_t ByteReader::read_some(std::byte* to, std::size_t size) {
  const std::size_t buffered = std::min(size, end_ - begin_);
  std::copy_n(buffer_.data() + begin_, buffered, to);
  begin_ += buffered;
  return buffered == size ? size : buffered + source_->read(to + buffered, size - buffered);
}

void ByteReader::read(std::byte* to, std::size_t size, std::string_view what) {
  const std::size_t count = read_some(to, size);
  if (count != size) fail(fmt::format("is cut off: {} of {} bytes of {} are there", count, size, what));
}

std::vector<std::byte> ByteReader::read(std::uint64_t size, std::string_view what) {
  const std::uint64_t left = at_most();
  if (left < size) fail(fmt::format("is cut off: at most {} of {} bytes of {} are there", left, size, what));
  const bool bounded = left != ByteSource::unknown;
  std::vector<std::byte> bytes(bounded ? size : std::min<std::uint64_t>(size, first_piece));
  std::size_t done = 0;
  while (true) {
    const std::size_t count = read_some(bytes.data() + done, bytes.size() - done);
    if (count != bytes.size() - done)
      fail(fmt::format("is cut off: {} of {} bytes of {} are there", done + count, size, what));
    done += count;
    if (done == size) return bytes;
    bytes.resize(std::min<std::uint64_t>(size, 2 * static_cast<std::uint64_t>(done)));
  }
}

void ByteReader::expect_end(std::string_view after) {
  if (get() >= 0) fail(fmt::format("has bytes after {}; its header does not account for them", after));
}

std::uint64_t ByteReader::at_most() const {
  const std::uint64_t left = source_->at_most();
  const std::uint64_t buffered = end_ - begin_;
  return left > ByteSource::unknown - buffered ? ByteSource::unknown : left + buffered;
}

void ByteReader::fail(const std::string& what) const { throw Error(ErrorCode::invalid_data, name_ + ": " + what); }

}  // namespace weir
