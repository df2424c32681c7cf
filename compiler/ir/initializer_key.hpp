// Which key of a layer says what a parameter holds first.
#pragma once

#include <string>
#include <string_view>

#include "runtime/attribute.hpp"

namespace weir {

/// "<parameter>_initializer"; where the layer has no such key, one for all of the kind: the query_kernel of a layer
/// with several kernels takes "kernel_initializer".
inline std::string initializer_key(const Attributes& layer, std::string_view parameter) {
  std::string key = std::string(parameter) + "_initializer";
  return layer.has(key) ? key : key.substr(key.find('_') + 1);
}

}  // namespace weir
