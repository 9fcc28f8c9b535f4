// SPDX-License-Identifier: Apache-2.0
#include "half.hpp"

#include <cstring>

namespace springtide {
namespace {

std::uint32_t bits_of(float value) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(std::uint32_t bits) noexcept {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// `extra` is what decides: added below the last kept bit before the rest is cut off, 0 to 2^dropped - 1.
// Infinity and NaN stay what they are.
std::uint16_t bfloat16(std::uint32_t bits, std::uint32_t extra) noexcept {
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude >= 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | (magnitude > 0x7f800000U ? 0x40 : 0));
  std::uint32_t rounded = (magnitude + extra) >> 16;
  if (rounded >= 0x7f80U) rounded = 0x7f7fU;
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000U) | rounded);
}

// How many bits of the 24-bit mantissa a binary16 of this magnitude cannot keep.
unsigned dropped_bits(std::uint32_t magnitude) noexcept {
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  return exponent >= -14 ? 13U : static_cast<unsigned>(13 + (-14 - exponent));
}

std::uint16_t binary16(std::uint32_t bits, std::uint64_t extra, unsigned dropped) noexcept {
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U);
  if (magnitude == 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7c00U);
  if (dropped > 40) return sign;
  const std::uint64_t mantissa = (magnitude & 0x7fffffU) | (magnitude >= 0x800000U ? 0x800000U : 0U);
  const std::uint64_t kept = (mantissa + extra) >> dropped;
  // The kept mantissa carries its leading one, which adds one to the exponent of a normal number.
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  const std::uint64_t base = exponent >= -14 ? static_cast<std::uint64_t>(exponent + 14) << 10 : 0;
  const std::uint64_t rounded = base + kept;
  return static_cast<std::uint16_t>(sign | (rounded >= 0x7c00U ? 0x7bffU : rounded));
}

float from_binary16(std::uint16_t half) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00U) return float_of(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13);
  if (magnitude >= 0x400U) return float_of(sign | ((magnitude << 13) + (112U << 23)));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -subnormal : subnormal;
}

}  // namespace

std::uint16_t to_nearest(float value, Precision precision) noexcept {
  const std::uint32_t bits = bits_of(value);
  if (precision == Precision::kBfloat16) return bfloat16(bits, 0x7fffU + (bits >> 16 & 1U));
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const unsigned dropped = dropped_bits(magnitude);
  if (dropped > 40) return binary16(bits, 0, dropped);
  const std::uint64_t mantissa = (magnitude & 0x7fffffU) | (magnitude >= 0x800000U ? 0x800000U : 0U);
  return binary16(bits, (std::uint64_t{1} << (dropped - 1)) - 1 + (mantissa >> dropped & 1U), dropped);
}

std::uint16_t by_chance(float value, std::uint32_t chance, Precision precision) noexcept {
  const std::uint32_t bits = bits_of(value);
  if (precision == Precision::kBfloat16) return bfloat16(bits, chance >> 16);
  const unsigned dropped = dropped_bits(bits & 0x7fffffffU);
  if (dropped > 40) return binary16(bits, 0, dropped);
  const std::uint64_t extra = dropped <= 32 ? chance >> (32 - dropped) : static_cast<std::uint64_t>(chance) << (dropped - 32);
  return binary16(bits, extra, dropped);
}

void widen(const std::uint16_t* values, std::size_t count, Precision precision, float* out) noexcept {
  if (precision == Precision::kBfloat16) {
    for (std::size_t i = 0; i < count; ++i) out[i] = float_of(static_cast<std::uint32_t>(values[i]) << 16);
  } else {
    for (std::size_t i = 0; i < count; ++i) out[i] = from_binary16(values[i]);
  }
}

void narrow_to_nearest(const float* values, std::size_t count, Precision precision, std::uint16_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) out[i] = to_nearest(values[i], precision);
}

void narrow_by_chance(const float* values, std::size_t count, Precision precision, std::uint64_t start,
                      std::uint16_t* out) noexcept {
  std::uint64_t drawn = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 2 == 0) drawn = mix(start + (i / 2 + 1) * kGolden);
    out[i] = by_chance(values[i], static_cast<std::uint32_t>(drawn >> (i % 2 == 0 ? 32 : 0)), precision);
  }
}

}  // namespace springtide
