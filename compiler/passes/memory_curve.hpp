// What less memory costs: data of the pass recompute, for people and for embedders.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/plan.hpp"

namespace weir {

/// A program that computes some values again instead of keeping them. Added work is that of one run.
struct MemoryPoint {
  std::uint64_t arena_bytes = 0;
  double flops = 0;                     ///< added
  std::uint64_t bytes = 0;              ///< moved, added
  double time = 0;                      ///< added, as a share of the run's estimated time
  std::vector<std::string> again = {};  ///< steps that run twice, in their order
};

/// From nothing computed again to the smallest arena that was found.
struct MemoryCurve {
  ProgramKind kind = ProgramKind::train;
  std::int64_t batch = 0;
  std::vector<MemoryPoint> points = {};
};

}  // namespace weir
