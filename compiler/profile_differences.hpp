// What another numerics profile would compute otherwise for this specification: defaults that the file leaves open, and
// formulas. Derived from the op records, so that it cannot be forgotten when an op is added.
#pragma once

#include <string>
#include <vector>

#include "compiler/spec/spec.hpp"

namespace weir {

struct ProfileDifference {
  std::string profile;             ///< the other one
  std::vector<std::string> where;  ///< layers and terms in file order, "optimizer"
  std::string what;                ///< a key, or "formula"
  std::string here, there;         ///< in the file's own profile ("" for a formula) and in the other one
};

/// Between the specification's profile and each of the others. Of a specification without errors.
std::vector<ProfileDifference> profile_differences(const Spec& spec);

/// A line a difference, under a heading; "" where there is none.
std::string to_text(const std::vector<ProfileDifference>& differences);

}  // namespace weir
