// What the runtime and the compiler throw when they cannot go on. One type, one list of codes.
#pragma once

#include <stdexcept>
#include <string>

namespace weir {

/// Stable: the numbers are part of the C interface and of nothing else.
enum class ErrorCode {
  invalid_argument = 1,       ///< a call or a flag is wrong; the caller fixes the call
  invalid_spec = 2,           ///< the specification was judged wrong
  invalid_data = 3,           ///< training data, weights or a plan file were judged wrong
  unsupported = 4,            ///< known, but not built yet
  limit_exceeded = 5,         ///< larger than a published limit
  resource_exhausted = 6,     ///< memory
  not_found = 7,              ///< a name that does not exist
  non_finite = 8,             ///< training diverged; the last good state is kept
  version_mismatch = 9,       ///< a file of another format number
  fingerprint_mismatch = 10,  ///< a plan made for another machine, oneDNN or thread count; a changed spec
  io_error = 11,              ///< the operating system refused
  failed_precondition = 12,   ///< the object cannot do this in its state
  internal = 13,              ///< a mistake of ours
};

/// Message: what was found, what was expected and the way out, in the user's words; it names the place.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Our own mistakes only: throws ErrorCode::internal with the place. If a test can trigger it, it must be an Error
/// instead.
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& what);

}  // namespace weir

#define WEIR_CHECK(condition, what) \
  ((condition) ? static_cast<void>(0) : ::weir::check_failed(#condition, __FILE__, __LINE__, (what)))
