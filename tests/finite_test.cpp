// The check before a commit: finite, and within a bound.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include "runtime/finite.hpp"

using namespace weir;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float quiet_nan = std::numeric_limits<float>::quiet_NaN();

bool all_within(const std::vector<float>& values, double bound) {
  return weir::all_within(values.data(), static_cast<std::int64_t>(values.size()), bound);
}

}  // namespace

TEST_CASE("one NaN or infinity anywhere is found") {
  for (std::size_t size : {1u, 3u, 16u, 17u, 4096u, 4097u, 10000u})
    for (std::size_t at : {std::size_t{0}, size / 2, size - 1})
      for (float bad : {infinity, -infinity, quiet_nan, -quiet_nan}) {
        std::vector<float> values(size, -1.5f);
        CHECK(all_within(values, 0));
        values[at] = bad;
        CHECK_FALSE(all_within(values, 0));
        CHECK_FALSE(all_within(values, 10));
        CHECK_FALSE(all_within(values, 1e300));
      }
}

TEST_CASE("the bound itself is within, the next number is not") {
  for (float bound : {1.0f, 3.4e19f, 1e-30f, 1e-42f}) {
    CHECK(all_within({bound, -bound, 0.0f, -0.0f}, bound));
    CHECK_FALSE(all_within({std::nextafter(bound, infinity)}, bound));
    CHECK_FALSE(all_within({-std::nextafter(bound, infinity)}, bound));
  }
}

TEST_CASE("a bound between two floats is rounded down") {
  const double bound = 0.1;  // the nearest float is larger
  CHECK_FALSE(all_within({0.1f}, bound));
  CHECK(all_within({std::nextafter(0.1f, 0.0f)}, bound));
}

TEST_CASE("no bound means every finite number") {
  const float largest = std::numeric_limits<float>::max();
  CHECK(all_within({largest, -largest}, 0));
  CHECK(all_within({largest}, std::numeric_limits<double>::infinity()));
  CHECK(all_within({}, 1));
}

TEST_CASE("a team finds what one thread finds: the first tensor that is beyond its bound") {
  std::vector<float> values(300000, 1.0f), few(3, 5.0f), none, last(150001, 1.0f);
  const Bounded tensors[] = {
      {values.data(), 300000, 2}, {few.data(), 3, 6}, {none.data(), 0, 1}, {last.data(), 150001, 2}};
  for (int threads : {1, 2, 3}) {
    CHECK(first_beyond(tensors, threads) == 4);
    CHECK(first_beyond({}, threads) == 0);
    for (std::size_t at : {std::size_t{0}, std::size_t{149999}, std::size_t{150000}, std::size_t{299999}}) {
      values[at] = 3;
      CHECK(first_beyond(tensors, threads) == 0);
      last[0] = 3;
      CHECK(first_beyond(tensors, threads) == 0);
      values[at] = 1;
      CHECK(first_beyond(tensors, threads) == 3);
      few[2] = 6.5f;
      CHECK(first_beyond(tensors, threads) == 1);
      few[2] = 5, last[0] = 1, last[150000] = std::numeric_limits<float>::quiet_NaN();
      CHECK(first_beyond(tensors, threads) == 3);
      last[150000] = 1;
    }
  }
}
