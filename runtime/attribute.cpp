#include "runtime/attribute.hpp"

#include <charconv>
#include <cmath>

#include "runtime/error.hpp"

namespace weir {

template <class T>
const T& Attributes::get(std::string_view name, const char* type) const {
  auto found = values_.find(name);
  WEIR_CHECK(found != values_.end(), "attribute " + std::string(name) + " is missing");
  const T* value = std::get_if<T>(&found->second);
  WEIR_CHECK(value, "attribute " + std::string(name) + " is no " + type);
  return *value;
}

bool Attributes::flag(std::string_view name) const { return get<bool>(name, "flag"); }
std::int64_t Attributes::integer(std::string_view name) const { return get<std::int64_t>(name, "integer"); }
const std::string& Attributes::word(std::string_view name) const { return get<std::string>(name, "word"); }
const Initializer& Attributes::initializer(std::string_view name) const {
  return get<Initializer>(name, "initializer");
}

const std::vector<std::int64_t>& Attributes::integers(std::string_view name) const {
  return get<std::vector<std::int64_t>>(name, "list of integers");
}

const std::vector<double>& Attributes::numbers(std::string_view name) const {
  return get<std::vector<double>>(name, "list of numbers");
}

double Attributes::number(std::string_view name) const {
  auto found = values_.find(name);
  if (found != values_.end())
    if (const auto* integer = std::get_if<std::int64_t>(&found->second)) return static_cast<double>(*integer);
  return get<double>(name, "number");
}

bool Attributes::is_word(std::string_view name) const {
  auto found = values_.find(name);
  return found != values_.end() && std::holds_alternative<std::string>(found->second);
}

void Attributes::erase(std::string_view name) {
  if (auto found = values_.find(name); found != values_.end()) values_.erase(found);
}

std::string shortest(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  WEIR_CHECK(error == std::errc(), "a double needs fewer than 40 characters");
  return std::string(buffer, end);
}

namespace {

template <class T, class Print>
std::string list(const std::vector<T>& values, Print print) {
  std::string text = "[";
  for (std::size_t i = 0; i < values.size(); ++i) text += (i ? ", " : "") + print(values[i]);
  return text + "]";
}

std::string print(bool value) { return value ? "true" : "false"; }
std::string print(std::int64_t value) { return std::to_string(value); }
std::string print(double value) { return shortest(value); }
std::string print(const std::string& value) { return "\"" + value + "\""; }
std::string print(const std::vector<std::int64_t>& value) {
  return list(value, [](std::int64_t item) { return std::to_string(item); });
}
std::string print(const std::vector<double>& value) { return list(value, shortest); }
std::string print(const Initializer& value) {
  std::string text = value.type;
  for (const auto& [key, number] : value.numbers) text.append(" ").append(key).append("=").append(shortest(number));
  for (const auto& [key, word] : value.words) text.append(" ").append(key).append("=").append(word);
  return text;
}

}  // namespace

std::string to_string(const AttributeValue& value) {
  return std::visit([](const auto& held) { return print(held); }, value);
}

}  // namespace weir
