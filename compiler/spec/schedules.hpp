// A number that changes while training goes on: {"type": "linear", "from": 0, "to": 1, "length": 1000}.
#pragma once

#include <optional>
#include <string>

#include "compiler/spec/reading.hpp"
#include "runtime/schedule.hpp"

namespace weir {

/// Of a key whose plain values `record` describes; its values keep that range. Nothing where it is wrong, which is
/// reported. element: of kind object.
std::optional<Schedule> read_schedule(Reading& reading, const std::string& subject, const AttributeDef& record,
                                      const Element& element);

}  // namespace weir
