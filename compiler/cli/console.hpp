// Where a command speaks: `out` carries its result and nothing else, `err` progress, diagnostics and notices.
#pragma once

#include <ostream>

namespace weir::cli {

struct Console {
  std::ostream& out;
  std::ostream& err;
  bool json = false;     ///< the result as one JSON document (train: JSON lines), diagnostics as JSON lines
  bool animate = false;  ///< err is a terminal that understands control characters
  int columns = 80;      ///< of that terminal
};

}  // namespace weir::cli
