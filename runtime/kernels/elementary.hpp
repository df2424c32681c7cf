// exp, log and the normal distribution of one number without branches, tables or calls, so that loops over them become
// vector code.
//
// exp: x = n·ln 2 + r with |r| ≤ ln 2 / 2 (W. Cody, W. Waite, "Software manual for the elementary functions", 1980: ln
// 2 in two parts), then the Taylor polynomial of degree 7, whose remainder is below 2^-27. log: log(1 + e) = 2
// artanh(s), s = e / (2 + e) ≤ 1/3, by its series up to s^15, whose remainder is below 2^-29 of the result. Both are
// within 2 units in the last place.
#pragma once

#include <bit>
#include <cstdint>

#include "runtime/kernels/dispatch.hpp"

namespace weir::kernels {

/// e^x for x ≤ 0; 0 from -87.7 down (at -88 the exponent's bits are those of 0), NaN for NaN.
WEIR_INLINE float exp_of_negative(float x) {
  constexpr float lowest = -88.0f, round = 0x1.8p23f;  // adding `round` leaves the nearest integer in the low bits
  const float clamped = x < lowest ? lowest : x;
  const float shifted = clamped * 1.44269504f + round;
  const float n = shifted - round;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1;
  p = p * r + 1;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + 127u) << 23;
  return p * std::bit_cast<float>(exponent);
}

struct Normal {
  float distribution;  ///< Φ(x)
  float bell;          ///< e^(-x²/2); times 1/sqrt(2π) the density
};

/// The standard normal distribution at finite x, within 2e-7; NaN for NaN. 2Φ(-|x|) = erfc(|x|/√2) by formula 7.1.26 of
/// M. Abramowitz, I. Stegun, "Handbook of mathematical functions", 1964.
WEIR_INLINE Normal normal(float x) {
  const float bell = exp_of_negative(-0.5f * x * x), size = x < 0 ? -x : x;
  const float t = 1 / (1 + 0.231641888f * size);  // 0.3275911 / √2
  float p = 1.061405429f;
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const float tail = 0.5f * (p * t) * bell;
  return {x < 0 ? tail : 1 - tail, bell};
}

/// log(1 + e) for e in [0, 1], also relative to a tiny result; NaN for NaN.
WEIR_INLINE float log_of_one_plus(float e) {
  const float s = e / (2 + e), square = s * s;
  float p = 1.0f / 15;
  p = p * square + 1.0f / 13;
  p = p * square + 1.0f / 11;
  p = p * square + 1.0f / 9;
  p = p * square + 1.0f / 7;
  p = p * square + 1.0f / 5;
  p = p * square + 1.0f / 3;
  return 2 * s + 2 * s * (square * p);
}

/// log x for finite x ≥ 1 in double, within some units of 1e-16 of the result or of x - 1; NaN for NaN and infinity.
/// x = 2^n·f with f in [√½, √2), log f = 2 artanh(s), s = (f - 1) / (f + 1), |s| ≤ 0.1716, by its series up to s^21,
/// whose remainder is below 1e-17.
WEIR_INLINE double log_of_at_least_one(double x) {
  constexpr std::uint64_t root_half = 0x3FE6A09E667F3BCD, two_52 = 0x4330000000000000;
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t n = (bits - root_half) >> 52;
  const double f = std::bit_cast<double>(bits - (n << 52));
  const double whole = std::bit_cast<double>(n | two_52) - 0x1p52;
  const double s = (f - 1) / (f + 1), square = s * s;
  double p = 1.0 / 21;
  p = p * square + 1.0 / 19;
  p = p * square + 1.0 / 17;
  p = p * square + 1.0 / 15;
  p = p * square + 1.0 / 13;
  p = p * square + 1.0 / 11;
  p = p * square + 1.0 / 9;
  p = p * square + 1.0 / 7;
  p = p * square + 1.0 / 5;
  p = p * square + 1.0 / 3;
  return whole * 0x1.62e42fefa39efp-1 + (2 * s + 2 * s * (square * p)) + (x - x);
}

}  // namespace weir::kernels
