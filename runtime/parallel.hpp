// One way to use several threads: the same team that oneDNN uses (libgomp's).
#pragma once

#include <span>
#include <type_traits>

namespace weir {

struct TeamPhase {
  void (*body)(void* context, int index, int count);
  void* context;
};

/// Calls each phase's body once for each index in 0 … count-1 on `threads` threads of the caller's team (count =
/// threads); a phase begins when all calls of the one before have ended. One region for all of them: waking a team
/// costs more than waiting for it. On one thread they are plain calls, with no region. No body may throw.
void run_phases(int threads, std::span<const TeamPhase> phases);

/// body(index, count) for each of the bodies, as run_phases has it.
template <class... Bodies>
void parallel(int threads, Bodies&&... bodies) {
  const TeamPhase phases[] = {{[](void* context, int index, int count) {
                                 (*static_cast<std::remove_reference_t<Bodies>*>(context))(index, count);
                               },
                               &bodies}...};
  run_phases(threads, phases);
}

/// Sets the team size of the calling thread for its lifetime, restores it afterwards.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace weir
