#include "runtime/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <system_error>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;
constexpr std::uint64_t worth_a_thread = std::uint64_t{8} << 20;  ///< about a millisecond of touching

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

/// The system fills a page with zeros when it is first written, and no step shall wait for that. What stands in the
/// memory stays, also what others write meanwhile.
void touch_pages(std::byte* begin, std::uint64_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return;  // since Linux 5.14
#endif
  auto* const at = reinterpret_cast<unsigned char*>(begin);
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  for (std::uint64_t i = 0; i < bytes; i += page)
    std::atomic_ref(at[i]).fetch_or(0, std::memory_order_relaxed);  // a write that changes nothing
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
  try {
    if (mapped_ >= worth_a_thread) toucher_ = std::thread(touch_pages, begin_, mapped_);
  } catch (const std::system_error&) {  // there is no thread to be had
  }
  if (!toucher_.joinable()) touch_pages(begin_, mapped_);
}

void Arena::wait() {
  if (toucher_.joinable()) toucher_.join();
}

Arena::~Arena() {
  wait();
  if (begin_) munmap(begin_, mapped_);
}

void Arena::poison() {
  if (begin_) std::memset(begin_, 0xff, bytes_);  // 0xffffffff is a NaN
}

}  // namespace weir
