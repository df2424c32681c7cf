// Initial values of parameters by Keras' identifiers: plain data in a plan, drawn when a session is made.
// A value depends on (seed, parameter name, its position in canonical axis order) and on nothing else, so adding a
// layer or changing a layout changes no other parameter.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.hpp"

namespace weir {

/// `numbers` and `words` hold Keras' arguments; one that is left out has Keras' default.
///   zeros, ones
///   constant          value = 0
///   random_uniform    minval = -0.05, maxval = 0.05
///   random_normal     mean = 0, stddev = 0.05
///   truncated_normal  mean = 0, stddev = 0.05; values beyond two standard deviations are redrawn
///   variance_scaling  scale = 1, mode = fan_in | fan_out | fan_avg, distribution = truncated_normal |
///                     untruncated_normal | uniform
///   glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal
struct Initializer {
  std::string type = "zeros";
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> words;

  bool operator==(const Initializer&) const = default;
};

/// A known type and the names of its arguments.
struct InitializerType {
  std::string_view type;
  std::vector<std::string_view> numbers, words;
};
const std::vector<InitializerType>& initializer_types();

struct Fans {
  double in = 1, out = 1;
};

/// Of a canonical shape: [in, out] or [k..., in, out]; one dimension counts as both, a scalar as 1.
Fans fans(const Dims& dims);

/// Throws Error for an unknown type, an argument that the type does not take or a value out of its range; `place`
/// starts the message.
void check_initializer(const Initializer& initializer, std::string_view place);

/// Dense f32 of `dims`, in canonical axis order. Throws as check_initializer does.
Tensor initial_value(const Initializer& initializer, const Dims& dims, std::uint64_t seed,
                     std::string_view parameter_name);

}  // namespace weir
