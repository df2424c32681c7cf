// Recipes that run as oneDNN primitives, seen from outside: no dnnl type passes here.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/kernel.hpp"

namespace weir {

bool is_primitive(std::string_view kernel);

/// Fills what is open: layouts, the type of a workspace, scratch. Where the library would fall to its reference
/// implementation, the open layouts are tried plain. Throws Error(unsupported) where nothing computes it, invalid_data
/// where the recipe is wrong.
Recipe close_primitive(const Recipe& open);

/// "brgconv:avx512_core", "jit:avx2", "ref:any"
std::string primitive_implementation(const Recipe& closed);

void validate_primitive(const Recipe& recipe);

/// Made under recipe.threads OpenMP threads. run() takes the team of the calling thread as it is: whoever runs a list
/// of executables sets it (ThreadScope) once for each stretch of equal recipe.threads, because another count than the
/// one it was made for is not what oneDNN promises to handle. A primitive that needs scratch and has no such operand
/// owns it.
std::unique_ptr<Executable> make_primitive(const Recipe& recipe, std::span<void* const> buffers);

std::span<const InPlace> primitive_in_place(const Recipe& recipe);

}  // namespace weir
