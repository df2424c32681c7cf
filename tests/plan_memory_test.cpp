// Offsets from sizes and lives; numbers alone, no network.
#include <doctest/doctest.h>

#include <random>

#include "compiler/passes/passes.hpp"

namespace weir {
namespace {

bool overlap(const MemoryRequest& a, std::uint64_t a_offset, const MemoryRequest& b, std::uint64_t b_offset) {
  return a.first <= b.last && b.first <= a.last && a_offset < b_offset + b.bytes && b_offset < a_offset + a.bytes;
}

void check_plan(const std::vector<MemoryRequest>& requests, const MemoryPlan& plan) {
  REQUIRE(plan.offsets.size() == requests.size());
  CHECK(plan.lower_bound <= plan.bytes);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    CHECK(plan.offsets[i] % 64 == 0);
    CHECK(plan.offsets[i] + requests[i].bytes <= plan.bytes);
    for (std::size_t j = 0; j < i; ++j)
      if (requests[i].in_place_of != static_cast<int>(j))
        CHECK_FALSE(overlap(requests[i], plan.offsets[i], requests[j], plan.offsets[j]));
  }
}

}  // namespace

TEST_CASE("nothing needs no memory") {
  CHECK(plan_memory({}).bytes == 0);
  CHECK(plan_memory({}).lower_bound == 0);
}

TEST_CASE("lives that do not meet share bytes, lives that meet do not") {
  const std::vector<MemoryRequest> apart = {{100, 1, 2}, {100, 3, 4}}, meeting = {{100, 1, 3}, {100, 3, 4}};
  CHECK(plan_memory(apart).bytes == 128);
  CHECK(plan_memory(apart).offsets[0] == plan_memory(apart).offsets[1]);
  CHECK(plan_memory(meeting).bytes == 256);
  check_plan(meeting, plan_memory(meeting));
}

TEST_CASE("a chain in place occupies one block") {
  const std::vector<MemoryRequest> chain = {{1000, 0, 1}, {1000, 1, 2, 0}, {1000, 2, 3, 1}};
  const MemoryPlan plan = plan_memory(chain);
  CHECK(plan.bytes == 1024);
  CHECK(plan.offsets[0] == plan.offsets[2]);
}

TEST_CASE("in place is refused where the bytes are still read later") {
  const std::vector<MemoryRequest> requests = {{1000, 0, 5}, {1000, 1, 2, 0}};
  CHECK(plan_memory(requests).bytes == 2048);
}

TEST_CASE("the lower bound is what is live at the fullest step, and a training-like ladder reaches it") {
  std::vector<MemoryRequest> ladder;
  for (int i = 0; i < 10; ++i) ladder.push_back({64u * static_cast<std::uint64_t>(i + 1), i, 20 - i});
  const MemoryPlan plan = plan_memory(ladder);
  CHECK(plan.lower_bound == 64 * 55);
  CHECK(plan.bytes == plan.lower_bound);
}

TEST_CASE("random requests never overlap while both live and stay close to the bound") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    std::vector<MemoryRequest> requests;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(random() % 50);
      requests.push_back({random() % 5000, first, first + static_cast<int>(random() % 12)});
    }
    const MemoryPlan plan = plan_memory(requests);
    check_plan(requests, plan);
    CHECK(static_cast<double>(plan.bytes) <= 1.35 * static_cast<double>(plan.lower_bound));
  }
}

}  // namespace weir
