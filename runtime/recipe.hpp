// A recipe says how one step computes: the kernel's name, each operand's type and layout, the settings, the threads.
// Plain data: it stands in the plan file, and from it alone the runtime makes an executable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/attribute.hpp"
#include "runtime/layout.hpp"
#include "runtime/tensor.hpp"

namespace weir {

enum class Access : std::uint8_t { read, write, update };  ///< update: read and then written

/// role: the kernel's word for the operand ("src", "weights", "dst", "workspace", "scratch", …), unique within a
/// recipe. A scalar (dims [], axes "", layout "") is one f64. "scratch" is u8 of as many bytes as the target asked for,
/// axes "x".
struct RecipeOperand {
  std::string role;
  Access access = Access::read;
  DType dtype = DType::f32;
  Shape shape;
  bool operator==(const RecipeOperand&) const = default;
};

struct Recipe {
  std::string kernel;
  std::vector<RecipeOperand> operands = {};
  Attributes attributes = {};
  int threads = 1;

  const RecipeOperand* find(std::string_view role) const;     ///< null where there is none
  const RecipeOperand& operand(std::string_view role) const;  ///< throws Error(invalid_data) naming kernel and role
  int index_of(std::string_view role) const;                  ///< -1 where there is none
  bool operator==(const Recipe&) const = default;
};

/// Bytes with padding, checked.
std::uint64_t byte_count(const RecipeOperand& operand);

/// "convolution_forward(src f32[32, 28, 28, 1] nhwc, …) strides=[1, 1] threads=2"
std::string to_string(const Recipe& recipe);

}  // namespace weir
