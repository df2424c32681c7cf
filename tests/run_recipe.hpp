// Runs one recipe on buffers of exactly its size: written ones hold NaN before, padding must hold zeros after, and what
// lies behind a buffer must not have changed. The library's own code no sanitizer watches.
#pragma once

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/kernel.hpp"
#include "runtime/kernels/dispatch.hpp"
#include "runtime/layout.hpp"
#include "runtime/parallel.hpp"
#include "runtime/recipe.hpp"

namespace weir::test {

using Values = std::vector<float>;

inline RecipeOperand tensor(std::string role, Access access, Dims dims, std::string axes, std::string layout,
                            DType dtype = DType::f32) {
  return {std::move(role), access, dtype, {std::move(dims), std::move(axes), std::move(layout)}};
}
inline RecipeOperand read(std::string role, Dims dims, std::string axes, std::string layout = "") {
  const std::string word = layout.empty() ? axes : layout;
  return tensor(std::move(role), Access::read, std::move(dims), axes, word);
}
inline RecipeOperand write(std::string role, Dims dims, std::string axes, std::string layout = "") {
  const std::string word = layout.empty() ? axes : layout;
  return tensor(std::move(role), Access::write, std::move(dims), axes, word);
}
inline RecipeOperand scalar(std::string role) { return tensor(std::move(role), Access::read, {}, "", "", DType::f64); }

/// What machine and environment allow.
#if defined(__x86_64__)
inline bool has_widest_vectors() { return kernels::instructions() == kernels::Instructions::avx512; }
inline bool has_avx2_alone() { return kernels::instructions() == kernels::Instructions::avx2; }
#else
inline bool has_widest_vectors() { return false; }
inline bool has_avx2_alone() { return false; }
#endif

/// Of both signs, distinct, reproducible.
inline Values numbers(std::int64_t count, int salt = 0) {
  Values values(static_cast<std::size_t>(count));
  std::uint32_t state = 12345u + 7919u * static_cast<std::uint32_t>(salt);
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<double>(state >> 8) * 0x1p-23 - 1);
  }
  return values;
}

class Run {
 public:
  explicit Run(Recipe recipe) : recipe_(std::move(recipe)) {
    for (const RecipeOperand& operand : recipe_.operands) {
      const std::size_t bytes = byte_count(operand);
      buffers_.emplace_back(static_cast<std::byte*>(::operator new(bytes + guard, alignment)));
      std::memset(buffers_.back().get() + bytes, static_cast<int>(untouched), guard);
      std::memset(buffers_.back().get(), operand.access == Access::write ? 0xFF : 0, bytes);  // all ones: a NaN
    }
  }

  /// Dense values in canonical order.
  Run& set(const std::string& role, const Values& values) {
    const RecipeOperand& operand = recipe_.operand(role);
    REQUIRE(values.size() == static_cast<std::size_t>(element_count(operand.shape.dims)));
    pack(operand.shape, values.data(), data(role));
    return *this;
  }
  Run& set(const std::string& role, double value) {
    std::memcpy(data(role), &value, sizeof value);
    return *this;
  }
  /// Raw bytes of another run: a workspace.
  Run& take(const std::string& role, const Run& other) {
    std::memcpy(data(role), other.data(role), byte_count(recipe_.operand(role)));
    return *this;
  }
  /// The written operand lies on the read one from now on.
  Run& overlay(const std::string& written, const std::string& source) {
    overlaid_.push_back({recipe_.index_of(written), recipe_.index_of(source)});
    return *this;
  }

  Run& run() {
    std::vector<void*> pointers;
    for (const auto& buffer : buffers_) pointers.push_back(buffer.get());
    for (const auto& [written, source] : overlaid_)
      pointers[static_cast<std::size_t>(written)] = pointers[static_cast<std::size_t>(source)];
    const auto executable = make_executable(recipe_, pointers);
    for (std::size_t i = 0; i < buffers_.size(); ++i) ASAN_POISON_MEMORY_REGION(end_of(i), guard);
    {
      const ThreadScope scope(recipe_.threads);
      executable->run();
    }
    for (std::size_t i = 0; i < buffers_.size(); ++i) check_end(i);
    for (const auto& [written, source] : overlaid_)
      std::memcpy(buffers_[static_cast<std::size_t>(written)].get(), buffers_[static_cast<std::size_t>(source)].get(),
                  byte_count(recipe_.operands[static_cast<std::size_t>(written)]));
    return *this;
  }

  Values get(const std::string& role) const {
    const Shape& shape = recipe_.operand(role).shape;
    Values values(static_cast<std::size_t>(element_count(shape.dims)));
    unpack(shape, data(role), values.data());
    Values again(static_cast<std::size_t>(physical_count(shape)));
    pack(shape, values.data(), again.data());
    CHECK_MESSAGE(std::memcmp(again.data(), data(role), again.size() * sizeof(float)) == 0,
                  "padding of " << role << " holds zeros: " << to_string(recipe_));
    return values;
  }

  const Recipe& recipe() const { return recipe_; }
  std::byte* data(const std::string& role) const {
    return buffers_.at(static_cast<std::size_t>(recipe_.index_of(role))).get();
  }

 private:
  std::byte* end_of(std::size_t operand) const {
    return buffers_[operand].get() + byte_count(recipe_.operands[operand]);
  }
  void check_end(std::size_t operand) const {
    const std::byte* const end = end_of(operand);
    ASAN_UNPOISON_MEMORY_REGION(end, guard);
    const bool is_whole = std::all_of(end, end + guard, [](std::byte byte) { return byte == untouched; });
    CHECK_MESSAGE(is_whole,
                  "nothing is written behind " << recipe_.operands[operand].role << ": " << to_string(recipe_));
  }

  static constexpr std::size_t guard = 1 << 14;  ///< bytes behind a buffer
  static constexpr std::byte untouched{0x5A};
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(std::byte* bytes) const { ::operator delete(bytes, alignment); }
  };
  Recipe recipe_;
  std::vector<std::unique_ptr<std::byte, Free>> buffers_;
  std::vector<std::pair<int, int>> overlaid_;
};

/// Largest difference, relative to the largest expected magnitude; infinite where a value is not finite or a size
/// differs.
inline double difference(const Values& actual, const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double scale = 1e-30, worst = 0;
  for (double value : expected) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(actual[i] - expected[i]) / scale;
    if (!(difference <= worst)) worst = std::isfinite(actual[i]) ? difference : std::numeric_limits<double>::infinity();
  }
  return worst;
}

}  // namespace weir::test
