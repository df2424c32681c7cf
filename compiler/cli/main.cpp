// The process: standard streams, terminal, exit code.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

#include "compiler/cli/program.hpp"

namespace {

/// Whether control characters are understood there.
bool is_terminal(int descriptor) {
  const char* kind = std::getenv("TERM");
  return isatty(descriptor) == 1 && kind && std::string_view(kind) != "dumb";
}

int columns_of(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  weir::cli::Console console{std::cout, std::cerr, false, is_terminal(STDERR_FILENO), columns_of(STDERR_FILENO)};
  const int code = weir::cli::run_program({argv + 1, argv + argc}, console);
  if (std::cout.flush()) return code;
  std::cerr << "weir: the result could not be written to standard output\n";
  return code == 0 ? 3 : code;
}
