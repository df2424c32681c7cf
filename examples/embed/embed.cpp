// Links the installed library and catches one of its errors.
#include <cstdio>

#include "runtime/error.hpp"

int main() {
  try {
    WEIR_CHECK(false, "thrown on purpose");
  } catch (const weir::Error& error) {
    std::printf("caught: %s\n", error.what());
    return error.code() == weir::ErrorCode::internal ? 0 : 1;
  }
  return 1;
}
