// One way to use several threads: the same team that oneDNN uses (libgomp's).
#pragma once

namespace weir {

/// Calls body(context, index, count) once for each index in 0 … count-1 on `threads` threads of the caller's team
/// (count = threads); on one thread it is a plain call, with no parallel region. body must not throw.
void parallel(int threads, void (*body)(void* context, int index, int count), void* context);

template <class Body>
void parallel(int threads, Body&& body) {
  parallel(
      threads, [](void* context, int index, int count) { (*static_cast<Body*>(context))(index, count); }, &body);
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
