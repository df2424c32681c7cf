// Page-backed, 64-byte aligned memory that a session owns: every page is touched before the first step, so that none
// meets a page fault, and in huge pages where the system has some, so that few addresses need be translated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <thread>

namespace weir {

class Arena {
 public:
  /// Zero-filled. Much memory is touched by a thread beside the caller's, who may use it meanwhile. Throws
  /// Error(resource_exhausted) naming `what` and the size.
  Arena(std::uint64_t bytes, const char* what);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* at(std::uint64_t offset) { return begin_ + offset; }
  const std::byte* at(std::uint64_t offset) const { return begin_ + offset; }
  /// Returns when every page was touched.
  void wait();
  std::uint64_t bytes() const { return bytes_; }
  /// Every f32 becomes a NaN, every byte a non-zero (tests).
  void poison();

 private:
  std::thread toucher_;
  std::byte* begin_ = nullptr;
  std::uint64_t bytes_ = 0, mapped_ = 0;
};

}  // namespace weir
