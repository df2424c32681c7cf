// What makes a recipe executable. A kernel of our own is one file in runtime/kernels/ with one KernelDef named like the
// file; everything else is a oneDNN primitive (runtime/onednn).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/recipe.hpp"

namespace weir {

/// One step with its buffers bound. run() allocates nothing of ours, does no string work and may be called any number
/// of times.
class Executable {
 public:
  virtual ~Executable() = default;
  virtual void run() = 0;
};

/// Positions in the recipe: the written operand may occupy the very bytes of the read one.
struct InPlace {
  std::string_view written;
  std::string_view read;
};

struct KernelDef {
  std::string_view name;
  std::string_view summary;
  /// Everything that create relies on: roles, types, equal extents, attribute names and ranges. A recipe is input, not
  /// authority: throws Error(invalid_data). Operand byte sizes and layout words were checked before.
  void (*validate)(const Recipe& recipe) = nullptr;
  /// buffers: one pointer for each operand of the recipe, 64-byte aligned for tensors, in the recipe's order; they
  /// outlive the executable.
  std::unique_ptr<Executable> (*create)(const Recipe& recipe, std::span<void* const> buffers) = nullptr;
  std::span<const InPlace> in_place = {};
  /// Operands of one tensor. A recipe may have them again for a second tensor, under the names repeated_role gives, and
  /// so on: one step for several. Empty: it may not.
  std::span<const std::string_view> repeats = {};
  /// Bytes of the operand "scratch", which the target appends. Null: the kernel has none.
  std::int64_t (*scratch_bytes)(const Recipe& recipe) = nullptr;
};

/// "parameter", "parameter_2", "parameter_3", … for tensor 0, 1, 2, …
std::string repeated_role(std::string_view role, std::size_t tensor);
/// How one of several tensors is computed: with the operands that all share, as if it were alone.
Recipe recipe_of_tensor(const Recipe& recipe, std::size_t tensor);

std::span<const KernelDef* const> kernels_table();    ///< generated from the folder, sorted by name
const KernelDef* find_kernel(std::string_view name);  ///< null for a oneDNN primitive or an unknown word

/// Own kernel or primitive. Throws Error(invalid_data) for an unknown kernel or a recipe that does not hold together.
void validate_recipe(const Recipe& recipe);
std::unique_ptr<Executable> make_executable(const Recipe& recipe, std::span<void* const> buffers);
std::span<const InPlace> in_place_of(const Recipe& recipe);

}  // namespace weir
