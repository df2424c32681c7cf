// When which bytes of the arena are needed: lowered values over the order of steps. emit_program places by it,
// recompute changes it and asks what it came to.
//
// Time 0 is before the first compute step, 1 … n are the compute steps, n + 1 is after the last. Weight copies live
// through the whole program: refresh writes them, any later run may read them. Inputs live from the start; gradients
// and taps to the end. Scratch lives for its step. Everything else from its first to its last step.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/passes/passes.hpp"

namespace weir {

/// What a compute step does to the arena: values (roots), and pairs of which the first may take over the bytes of the
/// second where that one dies here.
struct StepLives {
  struct InPlacePair {
    int written, read;
  };
  std::vector<int> touched;
  std::vector<InPlacePair> in_place;
};

struct Timeline {
  std::vector<StepLives> steps;      ///< of the compute phase
  std::vector<std::uint64_t> bytes;  ///< by value
  std::vector<bool> from_start, to_end;
};

/// Aliases followed to the value whose bytes they are.
int root_of(const LoweredGraph& lowered, int value);
bool is_in_arena(const LoweredValue& value);

Timeline timeline_of(const LoweredGraph& lowered);

/// In the order of first use, so that a value in place of another comes after it.
struct ArenaRequests {
  std::vector<int> values;
  std::vector<MemoryRequest> requests;  ///< one for each of the values
};
ArenaRequests requests_of(const Timeline& timeline);

}  // namespace weir
