// The checks that every kernel's validate is made of. A recipe stands in a plan file, so it is input: operands, types
// and settings are checked here before a kernel relies on them, and what does not hold is Error(invalid_data) with the
// recipe in the message.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/recipe.hpp"

namespace weir {

/// One operand that a kernel takes.
struct OperandRule {
  std::string_view role;
  Access access = Access::read;
  DType dtype = DType::f32;
  bool optional = false;
};

constexpr std::int64_t largest_extent = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void reject(const Recipe& recipe, const std::string& why);

/// Roles stand once, extents are 1 … largest_extent, layouts are words over the axes, threads are 1 … 4096.
/// validate_recipe did this before it asks a kernel.
void check_shapes(const Recipe& recipe);
/// And: every operand has a rule, its type and its access; every rule that is not optional has an operand; f64 operands
/// are scalars.
void check_operands(const Recipe& recipe, std::span<const OperandRule> rules);

/// No other settings than these.
void check_attribute_names(const Recipe& recipe, std::initializer_list<std::string_view> names);

std::int64_t integer_setting(const Recipe& recipe, std::string_view name, std::int64_t least, std::int64_t most);
/// Finite and in [least, most]; an integer is a number too.
double number_setting(const Recipe& recipe, std::string_view name, double least, double most);
bool flag_setting(const Recipe& recipe, std::string_view name);
const std::string& word_setting(const Recipe& recipe, std::string_view name,
                                std::initializer_list<std::string_view> words = {});
std::vector<std::int64_t> integers_setting(const Recipe& recipe, std::string_view name, std::size_t count,
                                           std::int64_t least, std::int64_t most);
/// Finite, at least one, each in [least, most].
std::vector<double> numbers_setting(const Recipe& recipe, std::string_view name, double least, double most);

/// Equal dims and axes; with layouts: equal layouts too.
void check_equal_shapes(const Recipe& recipe, std::string_view one, std::string_view other, bool layouts = true);
/// Of a kernel of ours whose window moves over images "nhwc": window (height, width), "strides" and "padding" lead from
/// the one image to the other, and the padding is smaller than the window.
void check_moves(const Recipe& recipe, const Shape& large, const Shape& small, std::int64_t height, std::int64_t width);
/// The bytes are the host's: canonical order without padding.
void check_dense(const Recipe& recipe, std::string_view role);

}  // namespace weir
