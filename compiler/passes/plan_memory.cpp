// Lives in, offsets out. Requests that take over another's bytes (in place) are first merged with it into one longer
// life; then several greedy orders are tried (place each block in the tightest gap that is free over its whole life),
// and the best is improved by a short local search. The lower bound is what is live at once at the fullest step. Knows
// nothing of graphs, so it is tested with numbers alone.
#include <algorithm>
#include <functional>
#include <numeric>
#include <tuple>

#include "compiler/passes/passes.hpp"
#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr std::uint64_t alignment = 64;
std::uint64_t aligned(std::uint64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

struct Block {
  std::uint64_t bytes = 0;
  int first = 0, last = 0;
};

/// block_of: by request.
std::vector<Block> merge(const std::vector<MemoryRequest>& requests, std::vector<std::size_t>& block_of) {
  std::vector<Block> blocks;
  blocks.reserve(requests.size());
  block_of.resize(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const MemoryRequest& request = requests[i];
    WEIR_CHECK(request.first <= request.last, "a life that ends before it begins");
    if (request.in_place_of >= 0) {
      const auto taken = static_cast<std::size_t>(request.in_place_of);
      WEIR_CHECK(taken < i, "in place of a request that comes later");
      Block& block = blocks[block_of[taken]];
      if (requests[taken].last == request.first && block.last == request.first) {
        block.bytes = std::max(block.bytes, aligned(request.bytes));
        block.last = request.last;
        block_of[i] = block_of[taken];
        continue;
      }
    }
    block_of[i] = blocks.size();
    blocks.push_back({aligned(request.bytes), request.first, request.last});
  }
  return blocks;
}

std::vector<std::uint64_t> live_bytes_of(const std::vector<Block>& blocks) {
  int last = 0;
  for (const Block& block : blocks) last = std::max(last, block.last);
  std::vector<std::uint64_t> live(static_cast<std::size_t>(last) + 2, 0);  // first what changes; wraps around and back
  for (const Block& block : blocks) {
    live[static_cast<std::size_t>(std::max(block.first, 0))] += block.bytes;
    live[static_cast<std::size_t>(block.last) + 1] -= block.bytes;
  }
  std::partial_sum(live.begin(), live.end(), live.begin());
  live.pop_back();
  return live;
}

struct Placement {
  std::vector<std::uint64_t> offsets;
  std::uint64_t bytes = 0;
};

Placement place(const std::vector<Block>& blocks, const std::vector<std::size_t>& order) {
  Placement placement{std::vector<std::uint64_t>(blocks.size()), 0};
  std::vector<std::size_t> placed;  // by offset
  for (std::size_t id : order) {
    const Block& block = blocks[id];
    std::uint64_t best = ~std::uint64_t{0}, best_gap = best, end = 0;
    for (std::size_t other : placed) {
      if (blocks[other].last < block.first || block.last < blocks[other].first) continue;
      const std::uint64_t at = placement.offsets[other];
      if (at > end && at - end >= block.bytes && at - end < best_gap) {
        best_gap = at - end;
        best = end;
      }
      end = std::max(end, at + blocks[other].bytes);
    }
    placement.offsets[id] = best_gap == ~std::uint64_t{0} ? end : best;
    placement.bytes = std::max(placement.bytes, placement.offsets[id] + block.bytes);
    const auto position = std::upper_bound(placed.begin(), placed.end(), id, [&](std::size_t a, std::size_t b) {
      return placement.offsets[a] < placement.offsets[b];
    });
    placed.insert(position, id);
  }
  return placement;
}

using Before = std::function<bool(const Block&, const Block&)>;

std::vector<Before> greedy_orders() {
  const auto length = [](const Block& block) { return static_cast<std::uint64_t>(block.last - block.first + 1); };
  return {
      [](const Block& a, const Block& b) { return a.bytes > b.bytes; },
      [=](const Block& a, const Block& b) { return length(a) > length(b); },
      [=](const Block& a, const Block& b) { return a.bytes * length(a) > b.bytes * length(b); },
      [](const Block& a, const Block& b) { return a.first < b.first; },
      [](const Block& a, const Block& b) { return a.last > b.last; },
      [](const Block& a, const Block& b) {
        return std::pair(a.last - a.first > 1, a.bytes) > std::pair(b.last - b.first > 1, b.bytes);
      },
  };
}

/// The fullest step's blocks first and side by side, the long-lived at the bottom: they decide the height, the others
/// fill in.
Before around_the_peak(const std::vector<Block>& blocks) {
  std::uint64_t most = 0;
  int peak = 0;
  for (const Block& at : blocks) {
    std::uint64_t live = 0;
    for (const Block& block : blocks) live += block.first <= at.first && at.first <= block.last ? block.bytes : 0;
    if (live > most) most = live, peak = at.first;
  }
  return [peak](const Block& a, const Block& b) {
    const auto key = [&](const Block& block) {
      const bool live = block.first <= peak && peak <= block.last;
      return std::tuple(live, live ? static_cast<std::uint64_t>(block.last - block.first) : 0, block.bytes);
    };
    return key(a) > key(b);
  };
}

std::vector<std::size_t> sorted_by(const std::vector<Block>& blocks, const Before& before) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return before(blocks[a], blocks[b]); });
  return order;
}

struct Attempt {
  std::vector<std::size_t> order;
  Placement placement;
};

Attempt best_greedy(const std::vector<Block>& blocks) {
  Attempt best{{}, {{}, ~std::uint64_t{0}}};
  std::vector<Before> orders = greedy_orders();
  orders.push_back(around_the_peak(blocks));
  for (const Before& before : orders) {
    std::vector<std::size_t> order = sorted_by(blocks, before);
    Placement placement = place(blocks, order);
    if (placement.bytes < best.placement.bytes) best = {std::move(order), std::move(placement)};
  }
  return best;
}

/// Local search: a block that stands at the top is placed earlier, and what is no worse is kept, until the bound is
/// reached or the budget (a few million comparisons) is used up. The random numbers are fixed, so the plan is too.
Placement improve(const std::vector<Block>& blocks, Attempt best, std::uint64_t bound) {
  std::uint32_t random = 1;
  const auto below = [&](std::size_t count) {
    return static_cast<std::size_t>(random = random * 1664525u + 1013904223u) / 65536 % count;
  };
  std::size_t rounds = std::min<std::size_t>(1500, 8'000'000 / (blocks.size() * blocks.size() + 1));
  for (; rounds > 0 && best.placement.bytes > bound; --rounds) {
    std::vector<std::size_t> top;
    for (std::size_t i = 0; i < best.order.size(); ++i)
      if (best.placement.offsets[best.order[i]] + blocks[best.order[i]].bytes == best.placement.bytes) top.push_back(i);
    Attempt next{best.order, {}};
    const std::size_t from = below(4) ? top[below(top.size())] : below(next.order.size());
    const std::size_t moved = next.order[from];
    next.order.erase(next.order.begin() + static_cast<std::ptrdiff_t>(from));
    next.order.insert(next.order.begin() + static_cast<std::ptrdiff_t>(below(from + 1)), moved);
    next.placement = place(blocks, next.order);
    if (next.placement.bytes <= best.placement.bytes) best = std::move(next);
  }
  return std::move(best.placement);
}

}  // namespace

std::vector<std::uint64_t> live_bytes(const std::vector<MemoryRequest>& requests) {
  std::vector<std::size_t> block_of;
  return live_bytes_of(merge(requests, block_of));
}

MemoryPlan plan_memory(const std::vector<MemoryRequest>& requests) {
  std::vector<std::size_t> block_of;
  const std::vector<Block> blocks = merge(requests, block_of);
  const std::vector<std::uint64_t> live = live_bytes_of(blocks);
  MemoryPlan plan{std::vector<std::uint64_t>(requests.size()), 0, *std::max_element(live.begin(), live.end())};
  if (blocks.empty()) return plan;
  const Placement placement = improve(blocks, best_greedy(blocks), plan.lower_bound);
  plan.bytes = placement.bytes;
  for (std::size_t i = 0; i < requests.size(); ++i) plan.offsets[i] = placement.offsets[block_of[i]];
  return plan;
}

}  // namespace weir
