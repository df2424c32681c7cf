// Bytes in order, from a stream, a decompressor or a member of an archive: what the strict readers of files read from.
// No size that a file claims is trusted: memory is allocated against the bytes that can still come, or as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

class ByteSource {
 public:
  static constexpr std::uint64_t unknown = std::numeric_limits<std::uint64_t>::max();

  virtual ~ByteSource() = default;
  /// Reads up to `size` bytes; fewer only at the end. Throws Error(io_error) or Error(invalid_data).
  virtual std::size_t read(std::byte* to, std::size_t size) = 0;
  /// No more bytes than this are left, judged by what is really stored; `unknown` where nothing is.
  virtual std::uint64_t at_most() const = 0;
};

/// The bytes of `stream` from its present position. The stream outlives the source.
class StreamSource final : public ByteSource {
 public:
  StreamSource(std::istream& stream, std::string name);
  std::size_t read(std::byte* to, std::size_t size) override;
  std::uint64_t at_most() const override { return left_; }

 private:
  std::istream& stream_;
  std::string name_;
  std::uint64_t left_;
};

/// A source with a name for messages, a buffer to look ahead in and the checks that every reader needs.
/// Every error is Error(invalid_data) and starts with the name.
class ByteReader {
 public:
  ByteReader(std::unique_ptr<ByteSource> source, std::string name);

  const std::string& name() const { return name_; }
  /// The next `count` bytes without consuming them; fewer at the end. Valid until the next call. count <= 65536.
  std::span<const std::byte> peek(std::size_t count);
  /// The next byte, or -1 at the end.
  int get() {
    if (begin_ == end_ && !refill()) return -1;
    return std::to_integer<int>(buffer_[begin_++]);
  }
  /// Up to `size` bytes, fewer only at the end.
  std::size_t read_some(std::byte* to, std::size_t size);
  /// Exactly `size` bytes; `what` they are ("the header", "the data") is for the message.
  void read(std::byte* to, std::size_t size, std::string_view what);
  std::vector<std::byte> read(std::uint64_t size, std::string_view what);
  void expect_end(std::string_view after);
  std::uint64_t at_most() const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  bool refill();

  std::unique_ptr<ByteSource> source_;
  std::string name_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

}  // namespace weir
