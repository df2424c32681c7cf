#include "runtime/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t to) { return (bytes + to - 1) / to * to; }

/// Where a huge page could begin, if the memory holds one: the system takes them at such addresses alone.
std::byte* map_memory(std::uint64_t bytes) {
  const std::uint64_t spare = bytes >= huge_page ? huge_page : 0;
  void* memory = mmap(nullptr, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const all = static_cast<std::byte*>(memory);
  if (spare == 0) return all;
  const std::uint64_t before =
      rounded_up(reinterpret_cast<std::uintptr_t>(all), huge_page) - reinterpret_cast<std::uintptr_t>(all);
  if (before > 0) munmap(all, before);
  if (before < spare) munmap(all + before + bytes, spare - before);
  return all + before;
}

/// The system fills a page with zeros when it is first written, and no step shall wait for that.
void touch_pages(std::byte* begin, std::uint64_t bytes) {
  volatile std::byte* const at = begin;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  for (std::uint64_t i = 0; i < bytes; i += page) at[i] = std::byte{0};
}

}  // namespace

Arena::Arena(std::uint64_t bytes, const char* what) : bytes_(bytes) {
  if (bytes == 0) return;
  mapped_ = rounded_up(bytes, static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
  begin_ = mapped_ < bytes ? nullptr : map_memory(mapped_);
  if (!begin_)
    throw Error(ErrorCode::resource_exhausted, std::string(what) + " needs " + std::to_string(bytes) +
                                                   " bytes, which the system refuses; use a smaller batch");
  madvise(begin_, mapped_, MADV_HUGEPAGE);  // advice only: refusal changes nothing
  touch_pages(begin_, mapped_);
}

Arena::~Arena() {
  if (begin_) munmap(begin_, mapped_);
}

void Arena::poison() {
  if (begin_) std::memset(begin_, 0xff, bytes_);  // 0xffffffff is a NaN
}

}  // namespace weir
