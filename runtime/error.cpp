#include "runtime/error.hpp"

namespace weir {

void check_failed(const char* condition, const char* file, int line, const std::string& what) {
  throw Error(ErrorCode::internal,
              "internal: " + what + " (" + condition + ", " + file + ":" + std::to_string(line) + ")");
}

}  // namespace weir
