// The message of the Error that an action throws, for tests of wrong inputs.
#pragma once

#include <string>

#include "runtime/error.hpp"

template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const weir::Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}
