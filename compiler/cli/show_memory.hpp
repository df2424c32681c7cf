// weir show --memory: what less memory costs in time, and what fills the arena, step by step.
#pragma once

#include <string>
#include <vector>

#include "compiler/cli/text.hpp"
#include "compiler/passes/memory_curve.hpp"

namespace weir::cli {

/// The part of the arena that a buffer has, and when; steps of compute count from 1, 0 is before them.
struct ArenaLife {
  const Buffer* buffer = nullptr;
  int first = 0, last = 0;
};

/// What lies in the arena over one run of the program.
struct ArenaPicture {
  std::vector<ArenaLife> lives;     ///< one for each buffer, in their order
  std::vector<std::uint64_t> live;  ///< bytes in use by time: buffers in place of each other count once
  int fullest = 0;                  ///< the first time at which most is live
};
ArenaPicture picture_of(const Program& program);

/// What a session of the plan takes for tensors: what is kept between steps, and the arena.
std::uint64_t memory_bytes(const Plan& plan);

/// program: whose arena is shown. curves: of the plan's train programs, none for a plan from a file.
std::string memory_text(const Plan& plan, const Program& program, const std::vector<MemoryCurve>& curves);
Json memory_json(const Plan& plan, const Program& program, const std::vector<MemoryCurve>& curves);
/// The arena drawn: steps to the right, bytes upwards, a box for each buffer.
std::string memory_svg(const Plan& plan, const Program& program);

}  // namespace weir::cli
