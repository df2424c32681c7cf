// SIGINT and SIGTERM while training: the first asks the trainer to end after its step, the second ends the process at
// once. The library handles no signal; only the program does, and only while this object lives.
#pragma once

#include <atomic>
#include <csignal>

namespace weir::cli {

class StopSignal {
 public:
  StopSignal();   ///< one at a time
  ~StopSignal();  ///< the handlers that were there before come back
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  const std::atomic<int>& received() const;  ///< 0, or the signal's number

 private:
  struct sigaction interrupt_ {
  }, terminate_{};
};

}  // namespace weir::cli
