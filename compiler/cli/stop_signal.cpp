#include "compiler/cli/stop_signal.hpp"

#include <unistd.h>

#include "compiler/cli/exit_codes.hpp"

namespace weir::cli {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may touch nothing else");

extern "C" void weir_on_signal(int number) {
  if (received_signal.exchange(number) != 0) _exit(stopped_by(number));
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  struct sigaction action {};
  action.sa_handler = weir_on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &interrupt_);
  sigaction(SIGTERM, &action, &terminate_);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
}

const std::atomic<int>& StopSignal::received() const { return received_signal; }

}  // namespace weir::cli
