// Our code allocates nothing in a step. operator new is replaced here to count; oneDNN allocates a few small objects at
// each execution of a primitive, so the count is 0 where only kernels of our own run, and constant over steps
// elsewhere. Nor does a step meet a page that the system has not given yet.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "runtime/arena.hpp"
#include "tests/models.hpp"

namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* memory = alignment > alignof(std::max_align_t)
                     ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                     : std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  return memory;
}

/// Never inlined: where g++ sees free() behind a replaced operator new, it takes it for a mismatch.
[[gnu::noinline]] void release(void* memory) noexcept { std::free(memory); }
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 0); }
void* operator new[](std::size_t bytes) { return counted(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return ++allocations, std::malloc(bytes ? bytes : 1);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return ++allocations, std::malloc(bytes ? bytes : 1);
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace weir {
namespace {

template <class Step>
long allocations_of(const Step& step) {
  const long before = allocations.load();
  step();
  return allocations.load() - before;
}

}  // namespace

TEST_CASE("a program of our own kernels runs without any allocation") {
  const std::string text = R"({
    "format": "weir/1", "inputs": { "x": { "shape": [6] }, "label": { "shape": [], "dtype": "i32" } },
    "layers": [ { "name": "scaled", "type": "rescaling", "from": "x", "scale": 0.5 },
                { "name": "sum", "type": "add", "from": ["scaled", "x"] },
                { "name": "both", "type": "concatenate", "from": ["sum", "scaled"] } ],
    "loss": { "terms": {
      "size": { "type": "mean_absolute_error", "at": "both", "target": { "constant": 0 } },
      "class": { "type": "sparse_categorical_crossentropy", "at": "sum", "from_logits": true,
                 "target": { "input": "label" } } } }
  })";
  Session session(compiled(text, {.batch_sizes = {8}}));
  const Tensor x = made_up({8, 6}, 1), label = made_up_classes(8, 6);
  const Feed feed = {{"x", x}, {"label", label}};
  session.evaluate(feed);
  double total = 0;
  CHECK(allocations_of([&] { total = session.evaluate(feed).total; }) == 0);
  CHECK(total > 0);
}

TEST_CASE("a training step of small dense layers runs on our own kernels alone, and allocates nothing") {
  const std::string text = R"({
    "format": "weir/1", "inputs": { "x": { "shape": [8] }, "label": { "shape": [], "dtype": "i32" } },
    "layers": [ { "name": "hidden", "type": "dense", "units": 16, "activation": "relu", "from": "x" },
                { "name": "output", "type": "dense", "units": 2, "activation": "softmax" } ],
    "loss": { "terms": { "final": { "type": "sparse_categorical_crossentropy", "at": "output",
                                    "target": { "input": "label" } } } },
    "train": { "optimizer": { "type": "adam" }, "batch_size": 32 } })";
  for (int threads : {1, 2}) {
    Session session(compiled(text, {.threads = threads}));
    const Tensor x = made_up({32, 8}, 1), label = made_up_classes(32, 2);
    const Feed feed = {{"x", x}, {"label", label}};
    const double first = session.train_step(feed).total;
    double last = 0;
    CHECK(allocations_of([&] { last = session.train_step(feed).total; }) == 0);
    CHECK(last < first);
  }
}

TEST_CASE("the allocations of a training step are oneDNN's own: the same number at every step") {
  const auto plan = compiled(read_file("models/seed.weir.json"), {.threads = 1});
  Session session(plan);
  const Tensor image = made_up({32, 28, 28, 1}, 1), label = made_up_classes(32, 10);
  const Feed feed = {{"image", image}, {"label", label}};
  for (int step = 0; step < 3; ++step) session.train_step(feed);
  const long first = allocations_of([&] { session.train_step(feed); });
  for (int step = 0; step < 5; ++step) CHECK(allocations_of([&] { session.train_step(feed); }) == first);
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ADDRESS_SANITIZER
#endif
#endif
#if defined(WEIR_ADDRESS_SANITIZER) || defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;  // gives freed memory back late, so the library's own buffers are new pages
#else
constexpr bool address_sanitizer = false;
#endif

TEST_CASE("every page of an arena is there after waiting, and large ones begin where a huge page can") {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const std::size_t bytes :
       {std::size_t{64}, 3 * page + 1, (std::size_t{5} << 20) + 64, (std::size_t{24} << 20) + 64}) {
    Arena arena(bytes, "a test");
    arena.wait();
    std::vector<unsigned char> resident((bytes + page - 1) / page);
    REQUIRE(mincore(arena.at(0), bytes, resident.data()) == 0);
    CHECK(std::all_of(resident.begin(), resident.end(), [](unsigned char flags) { return flags & 1; }));
    CHECK(std::all_of(arena.at(0), arena.at(0) + bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    if (bytes >= std::size_t{2} << 20)
      CHECK(reinterpret_cast<std::uintptr_t>(arena.at(0)) % (std::size_t{2} << 20) == 0);
  }
  CHECK_THROWS_AS(Arena(std::uint64_t{1} << 62, "a test"), Error);
}

TEST_CASE("what is written into an arena while its pages are touched stays") {
  constexpr std::size_t bytes = std::size_t{64} << 20;
  Arena arena(bytes, "a test");
  for (std::size_t i = 0; i < bytes; i += 4096) *arena.at(i) = std::byte{7};
  arena.wait();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < bytes; i += 4096) kept += *arena.at(i) == std::byte{7};
  CHECK(kept == bytes / 4096);
  const Arena unused(bytes, "a test");  // given back while it may still be touched
}

TEST_CASE("a steady training step meets no page fault" * doctest::skip(address_sanitizer)) {
  Session session(compiled(read_file("models/seed.weir.json"), {.threads = 1}));
  const Tensor image = made_up({32, 28, 28, 1}, 1), label = made_up_classes(32, 10);
  const Feed feed = {{"image", image}, {"label", label}};
  const auto faults = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_minflt + usage.ru_majflt;
  };
  int quiet = 0;
  for (int step = 0; step < 12; ++step) {
    const long before = faults();
    session.train_step(feed);
    if (faults() == before) ++quiet;
  }
  CHECK(quiet >= 8);  // the first ones make the library's own buffers
}

}  // namespace weir
