// The specifications and recorded runs that several tests read.
#pragma once

#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

#include <doctest/doctest.h>

#include "compiler/compile.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/session.hpp"

namespace weir {

inline std::string read_file(const std::string& path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::map<std::string, Tensor> read_tensors(const std::string& path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return read_safetensors(file, path);
}

/// Compiles and insists on success.
inline std::shared_ptr<const Plan> compiled(const std::string& text, CompileOptions options = {},
                                            const Target* target = nullptr) {
  if (options.threads == 0) options.threads = 2;
  const Compiled result = compile(text, options, target);
  INFO(result.diagnostics.to_text());
  REQUIRE(result.plan);
  return result.plan;
}

/// Rows [first, first + count) of a dense tensor.
inline TensorView rows(const Tensor& tensor, std::int64_t first, std::int64_t count) {
  Dims dims = tensor.dims;
  const std::int64_t values = tensor.count() / dims.front();
  dims.front() = count;
  return {tensor.bytes.data() + static_cast<std::size_t>(first * values) * 4, tensor.dtype, dims};
}

/// f32 values in [0, 1) and classes, the same on every machine.
inline Tensor made_up(const Dims& dims, int salt) {
  Tensor tensor(DType::f32, dims);
  std::uint32_t state = 12345u + static_cast<std::uint32_t>(salt);
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    state = state * 1664525u + 1013904223u;
    tensor.data<float>()[i] = static_cast<float>(state >> 8) / 16777216.0f;
  }
  return tensor;
}
inline Tensor made_up_classes(std::int64_t count, std::int32_t classes) {
  Tensor tensor(DType::i32, {count});
  for (std::int64_t i = 0; i < count; ++i)
    tensor.data<std::int32_t>()[i] = static_cast<std::int32_t>((i * 7 + 3) % classes);
  return tensor;
}

/// A copy of the text with the first `from` replaced; throws where it is not there.
inline std::string with(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("not in the text: " + from);  // may run before doctest does
  return text.replace(at, from.size(), to);
}

}  // namespace weir
