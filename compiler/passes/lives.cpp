#include "compiler/passes/lives.hpp"

#include <algorithm>

#include "runtime/kernel.hpp"

namespace weir {
namespace {

std::size_t index(int id) { return static_cast<std::size_t>(id); }

std::uint64_t bytes_of(const LoweredValue& value) {
  return byte_count(RecipeOperand{"", Access::read, value.dtype, value.shape});
}

bool reads_once(const LoweredGraph& lowered, const LoweredStep& step, int source) {
  return std::count_if(step.operands.begin(), step.operands.end(),
                       [&](int operand) { return root_of(lowered, operand) == source; }) == 1;
}

/// By the kernel's record; a copy is kept as it is, it may have other readers in the next run.
std::vector<StepLives::InPlacePair> in_place_pairs(const LoweredGraph& lowered, const LoweredStep& step) {
  std::vector<StepLives::InPlacePair> pairs;
  for (const InPlace& pair : in_place_of(step.recipe)) {
    const int written = step.recipe.index_of(pair.written), read = step.recipe.index_of(pair.read);
    if (written < 0 || read < 0) continue;
    const int to = root_of(lowered, step.operands[index(written)]), from = root_of(lowered, step.operands[index(read)]);
    const LoweredValue& source = lowered.values[index(from)];
    const bool fits = byte_count(step.recipe.operands[index(written)]) == byte_count(step.recipe.operands[index(read)]);
    if (to != from && fits && is_in_arena(source) && source.kind != BufferClass::copy &&
        reads_once(lowered, step, from))
      pairs.push_back({to, from});
  }
  return pairs;
}

/// Values in use outside of the compute steps.
void mark_ends(const LoweredGraph& lowered, Timeline& timeline) {
  const auto mark = [&](std::vector<bool>& flags, int value) { flags[index(root_of(lowered, value))] = true; };
  for (const LoweredStep& step : lowered.steps)
    for (int operand : step.operands) {
      if (step.phase == Phase::compute) continue;
      const bool refreshed = step.phase == Phase::refresh;
      mark(refreshed ? timeline.from_start : timeline.to_end, operand);
      if (refreshed && lowered.values[index(root_of(lowered, operand))].kind == BufferClass::copy)
        mark(timeline.to_end, operand);
    }
  for (const auto& [value, id] : lowered.inputs) mark(timeline.from_start, id);
  for (const auto& [value, id] : lowered.gradients) mark(timeline.to_end, id);
  for (const auto& [value, id] : lowered.taps) mark(timeline.to_end, id);
}

struct Life {
  int first = -1, last = -1;
  void use(int time) {
    first = first < 0 ? time : std::min(first, time);
    last = std::max(last, time);
  }
};

std::vector<Life> lives_of(const Timeline& timeline) {
  std::vector<Life> lives(timeline.bytes.size());
  const int end = static_cast<int>(timeline.steps.size()) + 1;
  for (std::size_t id = 0; id < lives.size(); ++id) {
    if (timeline.from_start[id]) lives[id].use(0);
    if (timeline.to_end[id]) lives[id].use(end);
  }
  for (int time = 1; time < end; ++time)
    for (int id : timeline.steps[index(time - 1)].touched) lives[index(id)].use(time);
  return lives;
}

}  // namespace

int root_of(const LoweredGraph& lowered, int value) {
  while (lowered.values[index(value)].alias_of >= 0) value = lowered.values[index(value)].alias_of;
  return value;
}

bool is_in_arena(const LoweredValue& value) {
  return !value.is_scalar && value.kind != BufferClass::parameter && value.kind != BufferClass::statistic &&
         value.kind != BufferClass::state;
}

Timeline timeline_of(const LoweredGraph& lowered) {
  const std::size_t count = lowered.values.size();
  Timeline timeline{{}, std::vector<std::uint64_t>(count), std::vector<bool>(count), std::vector<bool>(count)};
  for (std::size_t id = 0; id < count; ++id)
    if (is_in_arena(lowered.values[id])) timeline.bytes[id] = bytes_of(lowered.values[id]);
  mark_ends(lowered, timeline);
  for (std::size_t id = 0; id < count; ++id)
    if (!is_in_arena(lowered.values[id])) timeline.from_start[id] = timeline.to_end[id] = false;
  for (const LoweredStep& step : lowered.steps) {
    if (step.phase != Phase::compute) continue;
    StepLives lives;
    for (int operand : step.operands)
      if (const int root = root_of(lowered, operand); is_in_arena(lowered.values[index(root)]))
        lives.touched.push_back(root);
    lives.in_place = in_place_pairs(lowered, step);
    timeline.steps.push_back(std::move(lives));
  }
  return timeline;
}

ArenaRequests requests_of(const Timeline& timeline) {
  const std::vector<Life> lives = lives_of(timeline);
  std::vector<int> source(lives.size(), -1);
  for (const StepLives& step : timeline.steps)
    for (const auto& [written, read] : step.in_place) {
      const bool dies = lives[index(read)].last == lives[index(written)].first &&
                        lives[index(read)].first < lives[index(written)].first;
      if (dies && source[index(written)] < 0) source[index(written)] = read;
    }
  ArenaRequests arena;
  for (int id = 0; id < static_cast<int>(lives.size()); ++id)
    if (lives[index(id)].first >= 0) arena.values.push_back(id);
  std::stable_sort(arena.values.begin(), arena.values.end(),
                   [&](int a, int b) { return lives[index(a)].first < lives[index(b)].first; });
  std::vector<int> request_of(lives.size(), -1);
  for (int id : arena.values) {
    request_of[index(id)] = static_cast<int>(arena.requests.size());
    const int taken = source[index(id)];
    arena.requests.push_back({timeline.bytes[index(id)], lives[index(id)].first, lives[index(id)].last,
                              taken < 0 ? -1 : request_of[index(taken)]});
  }
  return arena;
}

}  // namespace weir
