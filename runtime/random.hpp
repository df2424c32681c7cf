// Random numbers without state: a value is a function of (key, step, element), so neither the order in which values are
// drawn nor the number of threads can change it, and resuming needs no generator state.
//
// Philox4x32-10 of J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
// The 64-bit key is mixed from (seed, name). The 128-bit counter is (step, block); a block gives four 32-bit words, so
// element e is word e % 4 of block e / 4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace weir {

/// FNV-1a, 64 bits.
constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3u;
  }
  return hash;
}

/// The finalizer of SplitMix64: a bijection in which each input bit changes about half of the output bits.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// The key of everything drawn for `name`: for one seed different names give unrelated numbers, and the other way
/// round.
constexpr std::uint64_t random_key(std::uint64_t seed, std::string_view name) {
  return mix_bits(mix_bits(seed) ^ name_hash(name));
}

/// `lanes` blocks side by side: words[w][lane] holds counter word w on entry and output word w on return. The loops
/// over lanes have no dependence, so that compilers turn them into vector code.
template <std::size_t lanes>
constexpr void philox_blocks(std::uint32_t (&words)[4][lanes], std::uint64_t key) {
  auto key_low = static_cast<std::uint32_t>(key);
  auto key_high = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const std::uint64_t even = std::uint64_t{0xD2511F53u} * words[0][lane];
      const std::uint64_t odd = std::uint64_t{0xCD9E8D57u} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(odd >> 32) ^ words[1][lane] ^ key_low;
      words[1][lane] = static_cast<std::uint32_t>(odd);
      words[2][lane] = static_cast<std::uint32_t>(even >> 32) ^ words[3][lane] ^ key_high;
      words[3][lane] = static_cast<std::uint32_t>(even);
    }
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
}

/// The four words of one block.
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t step, std::uint64_t block) {
  std::uint32_t words[4][1] = {{static_cast<std::uint32_t>(block)},
                               {static_cast<std::uint32_t>(block >> 32)},
                               {static_cast<std::uint32_t>(step)},
                               {static_cast<std::uint32_t>(step >> 32)}};
  philox_blocks(words, key);
  return {words[0][0], words[1][0], words[2][0], words[3][0]};
}

/// In [0, 1): the top 24 bits times 2^-24, exact in f32. Through a signed integer, for which every instruction set has
/// a vector conversion.
constexpr float unit_float(std::uint32_t word) {
  return static_cast<float>(static_cast<std::int32_t>(word >> 8)) * 0x1p-24f;
}

/// Uniform in [0, 1).
constexpr float uniform(std::uint64_t key, std::uint64_t step, std::uint64_t element) {
  return unit_float(philox(key, step, element / 4)[element % 4]);
}

/// Elements per call of uniform_chunk. Measured: with 64, GCC 12 unrolls the loops instead and takes twice the time.
inline constexpr std::size_t uniform_chunk_size = 128;

/// Elements 4 * first_block to 4 * first_block + 127, the same values as uniform(): the core of fill_uniform, inline
/// for kernels that use the numbers at once.
inline void uniform_chunk(float (&values)[uniform_chunk_size], std::uint64_t key, std::uint64_t step,
                          std::uint64_t first_block) {
  constexpr std::size_t lanes = uniform_chunk_size / 4;
  std::uint32_t words[4][lanes];
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const std::uint64_t block = first_block + lane;
    words[0][lane] = static_cast<std::uint32_t>(block);
    words[1][lane] = static_cast<std::uint32_t>(block >> 32);
    words[2][lane] = static_cast<std::uint32_t>(step);
    words[3][lane] = static_cast<std::uint32_t>(step >> 32);
  }
  philox_blocks(words, key);
  for (std::size_t lane = 0; lane < lanes; ++lane)
    for (std::size_t word = 0; word < 4; ++word) values[4 * lane + word] = unit_float(words[word][lane]);
}

/// values[i] = uniform(key, step, first_element + i).
void fill_uniform(std::span<float> values, std::uint64_t key, std::uint64_t step, std::uint64_t first_element);

/// Uniform in [0, bound), without bias; bound > 0.
std::uint32_t uniform_integer(std::uint64_t key, std::uint64_t step, std::uint32_t element, std::uint32_t bound);

/// Standard normal, in double.
double normal(std::uint64_t key, std::uint64_t step, std::uint64_t element);

/// Standard normal given that it lies in [-2, 2].
double truncated_normal(std::uint64_t key, std::uint64_t element);

/// 0 to count - 1 in an order that depends on (key, epoch) alone.
std::vector<std::uint32_t> permutation(std::uint32_t count, std::uint64_t key, std::uint64_t epoch);

}  // namespace weir
