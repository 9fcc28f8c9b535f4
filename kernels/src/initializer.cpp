// SPDX-License-Identifier: Apache-2.0
#include "initializer.hpp"

#include <cmath>

#include "hash.hpp"

namespace springtide {
namespace {


// The normal distribution's probability below -2, where the truncated one begins.
constexpr double kBelowTwo = 0.022750131948179195;

// Natural logarithm of a positive normal number, by 2 artanh((m-1)/(m+1)) + exponent ln 2.
double natural_log(double x) noexcept {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // exact, in [0.5, 1)
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;
  double series = 0;
  for (int k = 10; k >= 0; --k) series = series * square + 1.0 / (2 * k + 1);
  return 2 * s * series + exponent * 0.69314718055994531;
}

}  // namespace

double normal_quantile(double probability) noexcept {
  const double q = probability - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * (((5.9109374720e+01 * r + 1.5929113202e+02) * r + 5.0434271938e+01) * r + 3.3871327179e+00) /
           (((6.7187563600e+01 * r + 7.8757757664e+01) * r + 1.7895169469e+01) * r + 1.0);
  }
  double r = std::sqrt(-natural_log(q < 0 ? probability : 1 - probability));
  double value;
  if (r <= 5) {
    r -= 1.6;
    value = (((1.7023821103e-01 * r + 1.3067284816e+00) * r + 2.7568153900e+00) * r + 1.4234372777e+00) /
            ((1.2021132975e-01 * r + 7.3700164250e-01) * r + 1.0);
  } else {
    r -= 5;
    value = (((1.7337203997e-02 * r + 4.2868294337e-01) * r + 3.0812263860e+00) * r + 6.6579051150e+00) /
            ((1.2258202635e-02 * r + 2.4197894225e-01) * r + 1.0);
  }
  return q < 0 ? -value : value;
}

Initializer::Initializer(InitializerSettings settings, std::uint64_t seed, const std::string& table)
    : settings_(settings), stream_(mix(mix(seed + kGolden) ^ xxh64(table.data(), table.size(), 0))) {}

void Initializer::fill(std::int64_t key, float* row, std::size_t begin, std::size_t end) const noexcept {
  // One SplitMix64 sequence per (seed, table, key); the coordinate is the counter.
  const std::uint64_t start = mix(stream_ ^ mix(static_cast<std::uint64_t>(key) + kGolden));
  const double scale = settings_.scale;
  switch (settings_.kind) {
    case InitializerKind::kConstant:
      for (std::size_t i = begin; i < end; ++i) row[i] = static_cast<float>(scale);
      return;
    case InitializerKind::kUniform:
      for (std::size_t i = begin; i < end; ++i) {
        const double unit = static_cast<double>(mix(start + (i + 1) * kGolden) >> 12) + 0.5;
        row[i] = static_cast<float>(scale * (unit * 0x1p-51 - 1.0));
      }
      return;
    case InitializerKind::kTruncatedNormal:
      for (std::size_t i = begin; i < end; ++i) {
        const double unit = static_cast<double>(mix(start + (i + 1) * kGolden) >> 12) + 0.5;
        row[i] = static_cast<float>(scale * normal_quantile(kBelowTwo + (1 - 2 * kBelowTwo) * (unit * 0x1p-52)));
      }
      return;
    case InitializerKind::kNormal:
      for (std::size_t i = begin; i < end; ++i) {
        const double unit = static_cast<double>(mix(start + (i + 1) * kGolden) >> 12) + 0.5;
        row[i] = static_cast<float>(scale * normal_quantile(unit * 0x1p-52));
      }
      return;
  }
}

}  // namespace springtide
