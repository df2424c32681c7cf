// What the program's exit code says; the one place that knows the numbers.
#pragma once

#include "runtime/error.hpp"

namespace weir::cli {

inline constexpr int done = 0;
inline constexpr int judged_wrong = 1;  ///< the specification, plan or data
inline constexpr int wrong_usage = 2;
inline constexpr int environment = 3;  ///< the operating system refused
inline constexpr int diverged = 4;     ///< training; the last good state is saved
inline constexpr int mismatch = 5;     ///< version, fingerprint or specification
inline constexpr int mistake_of_ours = 70;
inline constexpr int stopped_by(int signal) { return 128 + signal; }

constexpr int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return wrong_usage;
    case ErrorCode::invalid_spec:
    case ErrorCode::invalid_data:
    case ErrorCode::not_found:
    case ErrorCode::unsupported:
    case ErrorCode::limit_exceeded:
      return judged_wrong;
    case ErrorCode::io_error:
    case ErrorCode::resource_exhausted:
      return environment;
    case ErrorCode::non_finite:
      return diverged;
    case ErrorCode::version_mismatch:
    case ErrorCode::fingerprint_mismatch:
      return mismatch;
    case ErrorCode::failed_precondition:
    case ErrorCode::internal:
      return mistake_of_ours;
  }
  return mistake_of_ours;
}

}  // namespace weir::cli
