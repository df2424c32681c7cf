#include "runtime/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <set>

#include "runtime/error.hpp"
#include "runtime/initializer.hpp"
#include "tests/message_of.hpp"

using namespace weir;

namespace {

using Words = std::array<std::uint32_t, 4>;

struct Moments {
  double mean = 0, deviation = 0, smallest = 0, largest = 0;
};

Moments moments_of(const Tensor& tensor) {
  const auto count = static_cast<std::size_t>(tensor.count());
  const float* values = tensor.data<float>();
  Moments moments{0, 0, values[0], values[0]};
  double squares = 0;
  for (std::size_t i = 0; i < count; ++i) {
    moments.mean += values[i];
    squares += double{values[i]} * values[i];
    moments.smallest = std::min<double>(moments.smallest, values[i]);
    moments.largest = std::max<double>(moments.largest, values[i]);
  }
  moments.mean /= static_cast<double>(count);
  moments.deviation = std::sqrt(squares / static_cast<double>(count) - moments.mean * moments.mean);
  return moments;
}

Moments moments_of(const Initializer& initializer, const Dims& dims) {
  return moments_of(initial_value(initializer, dims, 1, "dense.kernel"));
}

}  // namespace

// The three philox4x32-10 lines of Random123's published known-answer file.
TEST_CASE("philox gives the published known answers") {
  CHECK(philox(0, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox(~0ull, ~0ull, ~0ull) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// The vectors of the FNV authors for "" and "foobar".
TEST_CASE("the name hash is FNV-1a of 64 bits") {
  CHECK(name_hash("") == 0xcbf29ce484222325u);
  CHECK(name_hash("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("a uniform number is the top 24 bits of a word") {
  CHECK(unit_float(0xFFFFFFFF) == 1.0f - 0x1p-24f);
  CHECK(unit_float(0xFF) == 0.0f);
  CHECK(uniform(7, 3, 6) == unit_float(philox(7, 3, 1)[2]));
}

TEST_CASE("filling a range gives the numbers that asking one by one gives, wherever it starts and ends") {
  const std::uint64_t key = random_key(5, "dropout_1");
  for (std::uint64_t first : {0ull, 1ull, 3ull, 126ull, (1ull << 34) - 2})
    for (std::size_t size : {0u, 1u, 5u, 127u, 128u, 300u}) {
      std::vector<float> values(size + 1, -1.0f);
      fill_uniform({values.data(), size}, key, 9, first);
      for (std::size_t i = 0; i < size; ++i) REQUIRE(values[i] == uniform(key, 9, first + i));
      CHECK(values[size] == -1.0f);
    }
}

TEST_CASE("names, seeds and steps give unrelated numbers") {
  std::set<std::uint64_t> keys;
  for (std::uint64_t seed = 0; seed < 100; ++seed)
    for (const char* name : {"a", "b", "ab", "shuffle", "dense.kernel"}) keys.insert(random_key(seed, name));
  CHECK(keys.size() == 500);
  CHECK(philox(1, 0, 1) != philox(1, 1, 0));
}

TEST_CASE("bounded integers stay below the bound and hit every value about equally often") {
  std::array<int, 7> counts{};
  for (std::uint32_t i = 0; i < 70000; ++i) ++counts.at(uniform_integer(3, 0, i, 7));
  for (int count : counts) CHECK(std::abs(count - 10000) < 500);
  for (std::uint32_t i = 0; i < 100; ++i) CHECK(uniform_integer(3, 0, i, 1) == 0);
}

// 2^32 words cannot be dealt evenly to 3 * 2^30 values: without rejection, half of them would go to every third value.
TEST_CASE("bounded integers are unbiased where a word alone would not do") {
  const std::uint32_t bound = 3u << 30;
  std::array<int, 3> counts{};
  for (std::uint32_t i = 0; i < 30000; ++i) {
    const std::uint32_t value = uniform_integer(11, 0, i, bound);
    REQUIRE(value < bound);
    ++counts.at(value % 3);
  }
  for (int count : counts) CHECK(std::abs(count - 10000) < 400);
}

TEST_CASE("a permutation holds every row once and depends on key and epoch alone") {
  for (std::uint32_t count : {0u, 1u, 2u, 1000u}) {
    auto order = permutation(count, 1, 0);
    std::sort(order.begin(), order.end());
    std::vector<std::uint32_t> expected(count);
    std::iota(expected.begin(), expected.end(), 0u);
    CHECK(order == expected);
  }
  CHECK(permutation(1000, 1, 0) == permutation(1000, 1, 0));
  CHECK(permutation(1000, 1, 0) != permutation(1000, 1, 1));
  CHECK(permutation(1000, 1, 0) != permutation(1000, 2, 0));
}

TEST_CASE("all orders of three rows are about equally frequent") {
  std::map<std::vector<std::uint32_t>, int> counts;
  for (std::uint64_t epoch = 0; epoch < 6000; ++epoch) ++counts[permutation(3, 4, epoch)];
  CHECK(counts.size() == 6);
  for (const auto& entry : counts) CHECK(std::abs(entry.second - 1000) < 150);
}

TEST_CASE("the constant initializers are constant") {
  CHECK(moments_of(Initializer{"zeros", {}, {}}, {3}).largest == 0);
  CHECK(moments_of(Initializer{"ones", {}, {}}, {3}).smallest == 1);
  const Moments constant = moments_of(Initializer{"constant", {{"value", -2.5}}, {}}, {2, 2});
  CHECK(constant.smallest == -2.5);
  CHECK(constant.largest == -2.5);
}

TEST_CASE("fans are those of Keras") {
  CHECK(fans({}).in == 1);
  CHECK(fans({7}).out == 7);
  CHECK(fans({20, 30}).in == 20);
  CHECK(fans({20, 30}).out == 30);
  CHECK(fans({3, 5, 8, 16}).in == 120);
  CHECK(fans({3, 5, 8, 16}).out == 240);
}

TEST_CASE("uniform initializers keep Keras' limits and fill the range") {
  struct Case {
    const char* type;
    double limit;
  };
  // fan_in = 200, fan_out = 100
  for (const Case& expected : {Case{"glorot_uniform", std::sqrt(6.0 / 300)}, Case{"he_uniform", std::sqrt(6.0 / 200)},
                               Case{"lecun_uniform", std::sqrt(3.0 / 200)}, Case{"random_uniform", 0.05}}) {
    CAPTURE(expected.type);
    const Moments moments = moments_of(Initializer{expected.type, {}, {}}, {200, 100});
    CHECK(moments.largest <= doctest::Approx(expected.limit).epsilon(1e-6));
    CHECK(moments.smallest >= doctest::Approx(-expected.limit).epsilon(1e-6));
    CHECK(moments.largest > 0.99 * expected.limit);
    CHECK(moments.smallest < -0.99 * expected.limit);
    CHECK(moments.deviation == doctest::Approx(expected.limit / std::sqrt(3.0)).epsilon(0.02));
  }
}

TEST_CASE("scaled normal initializers have variance scale / fan and are cut at two standard deviations") {
  struct Case {
    const char* type;
    double variance;
  };
  for (const Case& expected :
       {Case{"glorot_normal", 2.0 / 300}, Case{"he_normal", 2.0 / 200}, Case{"lecun_normal", 1.0 / 200}}) {
    CAPTURE(expected.type);
    const Moments moments = moments_of(Initializer{expected.type, {}, {}}, {200, 100});
    const double cut = 2 * std::sqrt(expected.variance) / 0.87962566103423978;
    CHECK(moments.deviation == doctest::Approx(std::sqrt(expected.variance)).epsilon(0.02));
    CHECK(moments.mean == doctest::Approx(0).epsilon(0.02).scale(std::sqrt(expected.variance)));
    CHECK(moments.largest <= doctest::Approx(cut).epsilon(1e-6));
    CHECK(moments.largest > 0.98 * cut);
  }
}

TEST_CASE("random_normal and truncated_normal take mean and stddev as Keras does") {
  const Moments full = moments_of(Initializer{"random_normal", {{"mean", 3}, {"stddev", 2}}, {}}, {200, 100});
  CHECK(full.mean == doctest::Approx(3).epsilon(0.02));
  CHECK(full.deviation == doctest::Approx(2).epsilon(0.02));
  CHECK(full.largest > 3 + 3 * 2);
  const Moments cut = moments_of(Initializer{"truncated_normal", {{"mean", 3}, {"stddev", 2}}, {}}, {200, 100});
  CHECK(cut.deviation == doctest::Approx(2 * 0.87962566103423978).epsilon(0.02));
  CHECK(cut.largest <= 3 + 2 * 2);
}

TEST_CASE("variance_scaling with Keras' words is the named initializers") {
  const Initializer scaling{"variance_scaling", {{"scale", 1}}, {{"mode", "fan_avg"}, {"distribution", "uniform"}}};
  CHECK(initial_value(scaling, {4, 6}, 1, "k").bytes ==
        initial_value({"glorot_uniform", {}, {}}, {4, 6}, 1, "k").bytes);
  CHECK(initial_value({"variance_scaling", {}, {}}, {4, 6}, 1, "k").bytes ==
        initial_value({"lecun_normal", {}, {}}, {4, 6}, 1, "k").bytes);
  const Initializer normal_out{
      "variance_scaling", {{"scale", 4}}, {{"mode", "fan_out"}, {"distribution", "untruncated_normal"}}};
  CHECK(moments_of(normal_out, {200, 100}).deviation == doctest::Approx(std::sqrt(4.0 / 100)).epsilon(0.02));
}

TEST_CASE("an initial value depends on seed and name and on nothing else") {
  const Initializer initializer{"glorot_uniform", {}, {}};
  const auto bytes = initial_value(initializer, {5, 5}, 1, "a.kernel").bytes;
  CHECK(bytes == initial_value(initializer, {5, 5}, 1, "a.kernel").bytes);
  CHECK(bytes != initial_value(initializer, {5, 5}, 2, "a.kernel").bytes);
  CHECK(bytes != initial_value(initializer, {5, 5}, 1, "b.kernel").bytes);
}

TEST_CASE("wrong initializers are refused with the place and what is allowed") {
  struct Case {
    Initializer initializer;
    const char* part;
  };
  const std::vector<Case> cases = {
      {{"orthogonal", {}, {}}, "\"orthogonal\" is not supported yet"},
      {{"glorot", {}, {}}, "unknown initializer \"glorot\"; known: zeros"},
      {{"zeros", {{"value", 1}}, {}}, "\"zeros\" takes no \"value\""},
      {{"he_normal", {}, {{"mode", "fan_in"}}}, "\"he_normal\" takes no \"mode\""},
      {{"variance_scaling", {}, {{"mode", "fan"}}}, "known: fan_in, fan_out, fan_avg"},
      {{"variance_scaling", {}, {{"distribution", "normal"}}}, "untruncated_normal"},
      {{"variance_scaling", {{"scale", 0}}, {}}, "scale is 0"},
      {{"random_normal", {{"stddev", -1}}, {}}, "stddev is -1"},
      {{"random_uniform", {{"minval", 1}}, {}}, "minval 1 is above maxval 0.05"},
      {{"constant", {{"value", std::nan("")}}, {}}, "value of initializer \"constant\" is not finite"},
  };
  for (const Case& wrong : cases) {
    const std::string message = message_of([&] { initial_value(wrong.initializer, {2, 2}, 0, "dense.kernel"); });
    CAPTURE(message);
    CHECK(message.starts_with("dense.kernel: "));
    CHECK(message.find(wrong.part) != std::string::npos);
  }
}
