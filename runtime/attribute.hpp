// Settings of a node and of a recipe: named values of a few plain types.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/initializer.hpp"

namespace weir {

using AttributeValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>, Initializer>;

/// Ordered by name, so that every print is stable. The accessors are for keys whose presence and type were checked
/// before (from a record or by a kernel's validate); a wrong one is our mistake (internal).
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, AttributeValue>> values) : values_(values) {}

  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  bool flag(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;  ///< also takes an integer
  const std::string& word(std::string_view name) const;
  bool is_word(std::string_view name) const;
  const std::vector<std::int64_t>& integers(std::string_view name) const;
  const std::vector<double>& numbers(std::string_view name) const;
  const Initializer& initializer(std::string_view name) const;

  void set(std::string name, AttributeValue value) { values_[std::move(name)] = std::move(value); }
  void erase(std::string_view name);
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  bool empty() const { return values_.empty(); }
  bool operator==(const Attributes&) const = default;

 private:
  template <class T>
  const T& get(std::string_view name, const char* type) const;
  std::map<std::string, AttributeValue, std::less<>> values_;
};

/// `3`, `0.5`, `true`, `"same"`, `[3, 3]`; floating-point numbers with the fewest digits that read back the same.
std::string to_string(const AttributeValue& value);
std::string shortest(double value);

}  // namespace weir
