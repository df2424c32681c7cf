#include "runtime/recipe_check.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "runtime/error.hpp"

namespace weir {
namespace {

constexpr int most_threads = 4096;

std::string quoted(std::string_view word) { return "\"" + std::string(word) + "\""; }

std::string_view to_word(Access access) {
  switch (access) {
    case Access::read:
      return "read";
    case Access::write:
      return "written";
    case Access::update:
      return "updated";
  }
  return "?";
}

const AttributeValue& setting(const Recipe& recipe, std::string_view name) {
  const auto found = std::find_if(recipe.attributes.begin(), recipe.attributes.end(),
                                  [&](const auto& attribute) { return attribute.first == name; });
  if (found == recipe.attributes.end()) reject(recipe, "setting " + quoted(name) + " is missing");
  return found->second;
}

template <class T>
const T& setting_of_type(const Recipe& recipe, std::string_view name, std::string_view type) {
  const T* value = std::get_if<T>(&setting(recipe, name));
  if (!value) reject(recipe, "setting " + quoted(name) + " must be " + std::string(type));
  return *value;
}

template <class T>
void check_range(const Recipe& recipe, std::string_view name, T value, T least, T most) {
  if (!(value >= least && value <= most))
    reject(recipe, "setting " + quoted(name) + " has " + to_string(AttributeValue(value)) + ", which is not in " +
                       to_string(AttributeValue(least)) + " to " + to_string(AttributeValue(most)));
}

void check_operand(const Recipe& recipe, const RecipeOperand& operand, const OperandRule& rule) {
  if (operand.dtype != rule.dtype)
    reject(recipe, "operand " + quoted(operand.role) + " must be " + std::string(to_string(rule.dtype)));
  if (operand.access != rule.access)
    reject(recipe, "operand " + quoted(operand.role) + " must be " + std::string(to_word(rule.access)) + ", not " +
                       std::string(to_word(operand.access)));
  if (rule.dtype == DType::f64 && !operand.shape.dims.empty())
    reject(recipe, "operand " + quoted(operand.role) + " must be a scalar");
}

}  // namespace

void reject(const Recipe& recipe, const std::string& why) {
  throw Error(ErrorCode::invalid_data, "the recipe " + to_string(recipe) + " does not hold together: " + why);
}

void check_shapes(const Recipe& recipe) {
  if (recipe.threads < 1 || recipe.threads > most_threads)
    reject(recipe, "threads must be 1 to " + std::to_string(most_threads));
  std::unordered_set<std::string_view> roles;  // an update of many tensors has hundreds
  for (const RecipeOperand& operand : recipe.operands) {
    if (!roles.insert(operand.role).second) reject(recipe, "operand " + quoted(operand.role) + " stands twice");
    for (std::int64_t extent : operand.shape.dims)
      if (extent < 1 || extent > largest_extent)
        reject(recipe, "operand " + quoted(operand.role) + " has an extent that is not in 1 to 2^31 - 1");
    check_layout(operand.shape);
    physical_count(operand.shape);
  }
}

void check_operands(const Recipe& recipe, std::span<const OperandRule> rules) {
  check_shapes(recipe);
  for (const RecipeOperand& operand : recipe.operands) {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const auto& r) { return r.role == operand.role; });
    if (rule == rules.end()) reject(recipe, "it takes no operand " + quoted(operand.role));
    check_operand(recipe, operand, *rule);
  }
  for (const OperandRule& rule : rules)
    if (!rule.optional && !recipe.find(rule.role)) reject(recipe, "operand " + quoted(rule.role) + " is missing");
}

void check_attribute_names(const Recipe& recipe, std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : recipe.attributes)
    if (std::find(names.begin(), names.end(), name) == names.end())
      reject(recipe, "it takes no setting " + quoted(name));
}

std::int64_t integer_setting(const Recipe& recipe, std::string_view name, std::int64_t least, std::int64_t most) {
  const auto value = setting_of_type<std::int64_t>(recipe, name, "an integer");
  check_range(recipe, name, value, least, most);
  return value;
}

double number_setting(const Recipe& recipe, std::string_view name, double least, double most) {
  const AttributeValue& value = setting(recipe, name);
  const auto* whole = std::get_if<std::int64_t>(&value);
  const double number = whole ? static_cast<double>(*whole) : setting_of_type<double>(recipe, name, "a number");
  if (!std::isfinite(number)) reject(recipe, "setting " + quoted(name) + " must be finite");
  check_range(recipe, name, number, least, most);
  return number;
}

bool flag_setting(const Recipe& recipe, std::string_view name) {
  return setting_of_type<bool>(recipe, name, "true or false");
}

const std::string& word_setting(const Recipe& recipe, std::string_view name,
                                std::initializer_list<std::string_view> words) {
  const auto& value = setting_of_type<std::string>(recipe, name, "a word");
  if (words.size() && std::find(words.begin(), words.end(), value) == words.end())
    reject(recipe, "setting " + quoted(name) + " cannot be " + quoted(value));
  return value;
}

std::vector<std::int64_t> integers_setting(const Recipe& recipe, std::string_view name, std::size_t count,
                                           std::int64_t least, std::int64_t most) {
  const auto& values = setting_of_type<std::vector<std::int64_t>>(recipe, name, "a list of integers");
  if (values.size() != count)
    reject(recipe, "setting " + quoted(name) + " must be a list of " + std::to_string(count) + " integers");
  for (std::int64_t value : values) check_range(recipe, name, value, least, most);
  return values;
}

std::vector<double> numbers_setting(const Recipe& recipe, std::string_view name, double least, double most) {
  const auto& values = setting_of_type<std::vector<double>>(recipe, name, "a list of numbers");
  if (values.empty()) reject(recipe, "setting " + quoted(name) + " must not be empty");
  for (double value : values) {
    if (!std::isfinite(value)) reject(recipe, "setting " + quoted(name) + " must be finite");
    check_range(recipe, name, value, least, most);
  }
  return values;
}

void check_equal_shapes(const Recipe& recipe, std::string_view one, std::string_view other, bool layouts) {
  const Shape &a = recipe.operand(one).shape, &b = recipe.operand(other).shape;
  if (a.dims != b.dims || a.axes != b.axes)
    reject(recipe, "operands " + quoted(one) + " and " + quoted(other) + " must have the same extents and axes");
  if (layouts && a.layout != b.layout)
    reject(recipe, "operands " + quoted(one) + " and " + quoted(other) + " must have the same layout");
}

void check_moves(const Recipe& recipe, const Shape& large, const Shape& small, std::int64_t height,
                 std::int64_t width) {
  constexpr std::int64_t most = 1 << 20;
  const auto strides = integers_setting(recipe, "strides", 2, 1, most);
  const auto padding = integers_setting(recipe, "padding", 4, 0, most);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t window = i == 0 ? height : width, before = padding[2 * i], after = padding[2 * i + 1];
    const std::int64_t room = large.dims[1 + i] + before + after - window;
    if (before >= window || after >= window) reject(recipe, "the padding must be smaller than the window");
    if (room < 0 || room / strides[i] + 1 != small.dims[1 + i])
      reject(recipe, "window, strides and padding do not lead from one image to the other");
  }
}

void check_dense(const Recipe& recipe, std::string_view role) {
  const Shape& shape = recipe.operand(role).shape;
  if (!is_dense(shape)) reject(recipe, "operand " + quoted(role) + " must have the layout \"" + shape.axes + "\"");
}

}  // namespace weir
