// A program that fits a smaller arena: some values are let go after their last forward reader and computed again before
// their next one. See recompute.cpp.
#pragma once

#include "compiler/passes/memory_curve.hpp"
#include "compiler/passes/passes.hpp"

namespace weir {

/// With the least added time that was found, so that the arena has at most `arena_bytes`; where nothing that was found
/// fits, the smallest. As it is where it fits.
LoweredGraph recompute(LoweredGraph lowered, std::uint64_t arena_bytes);

/// What next to nobody would rather keep: at most 3 % of the estimated time, and for each percent a tenth of the arena
/// or more. As it is where there is no such thing.
LoweredGraph recompute_cheap(LoweredGraph lowered);

/// What smaller arenas would cost. Points have falling sizes and rising times.
std::vector<MemoryPoint> memory_curve(const LoweredGraph& lowered);

}  // namespace weir
