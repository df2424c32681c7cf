#include "runtime/arena.hpp"

#include <sys/mman.h>

#include <cstring>
#include <string>

#include "runtime/error.hpp"

namespace weir {

Arena::Arena(std::uint64_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Error(ErrorCode::resource_exhausted, std::string(what) + " needs " + std::to_string(bytes) +
                                                   " bytes, which the system refuses; use a smaller batch");
  begin_ = static_cast<std::byte*>(memory);
  madvise(memory, bytes, MADV_HUGEPAGE);  // advice only: refusal changes nothing
  std::memset(memory, 0, bytes);
}

Arena::~Arena() {
  if (begin_) munmap(begin_, bytes_);
}

void Arena::poison() {
  if (begin_) std::memset(begin_, 0xff, bytes_);  // 0xffffffff is a NaN
}

}  // namespace weir
