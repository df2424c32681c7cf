// Every code that a diagnostic can carry, with an article each for `weir explain CODE`. Codes are stable: one that is
// no longer used stays, and none is given to something else. A test compares the list with the codes in the sources.
#pragma once

#include <span>
#include <string_view>

namespace weir {

struct DiagnosticCode {
  std::string_view code;  ///< "E0203"; E: error, W: warning
  std::string_view title;
  std::string_view article;  ///< plain sentences: what it means, why it is so, what to do
};

std::span<const DiagnosticCode> diagnostic_codes();  ///< sorted by code
/// Null where there is no such code. Lower case is accepted: "e0203".
const DiagnosticCode* find_diagnostic_code(std::string_view code);

}  // namespace weir
