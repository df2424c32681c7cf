// The cases of tests/reference/<op>.json: operands, and what Keras computed from them.
#pragma once

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "compiler/ir/op.hpp"

namespace weir {

inline nlohmann::json recorded_cases(std::string_view op) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/tests/reference/" + std::string(op) + ".json");
  return nlohmann::json::parse(file).at("cases");
}

inline Array recorded_array(const nlohmann::json& tensor) {
  Array array(tensor.at("dims").get<Dims>());
  array.data = tensor.at("values").get<std::vector<double>>();
  return array;
}

/// The attributes of a case in the types of the op's record; from_logits, which no record has, is a flag.
inline Attributes recorded_attributes(const nlohmann::json& attributes) {
  Attributes result;
  for (const auto& [name, value] : attributes.items()) {
    if (value.is_boolean())
      result.set(name, value.get<bool>());
    else if (value.is_number_integer())
      result.set(name, value.get<std::int64_t>());
    else if (value.is_number())
      result.set(name, value.get<double>());
    else if (value.is_array())
      result.set(name, value.get<std::vector<std::int64_t>>());
    else
      result.set(name, value.get<std::string>());
  }
  return result;
}

/// Largest difference relative to the largest expected entry; NaN where one side is NaN and the other is not.
inline double deviation(const Array& values, const Array& expected) {
  double largest = 0, worst = 0;
  for (double value : expected.data) largest = std::max(largest, std::abs(value));
  for (std::int64_t i = 0; i < expected.count(); ++i) {
    if (std::isnan(values[i]) && std::isnan(expected[i])) continue;
    const double difference = std::abs(values[i] - expected[i]);
    if (!(difference <= worst)) worst = difference;
  }
  return worst / (largest > 0 ? largest : 1);
}

}  // namespace weir
