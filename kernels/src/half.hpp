// Sixteen-bit floats: bfloat16 and IEEE binary16, rounded to nearest or by chance; knows no row.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "hash.hpp"

namespace springtide {

enum class Precision { kFloat32, kBfloat16, kFloat16 };

inline std::size_t value_bytes(Precision precision) noexcept { return precision == Precision::kFloat32 ? 4 : 2; }

// Finite values beyond the format's largest become its largest: a row must not turn infinite by rounding.
std::uint16_t to_nearest(float value, Precision precision) noexcept;
// Up or down with the probability that makes the mean right; `chance` is uniform over 32 bits.
std::uint16_t by_chance(float value, std::uint32_t chance, Precision precision) noexcept;

// out[i] = values[i], exactly
void widen(const std::uint16_t* values, std::size_t count, Precision precision, float* out) noexcept;
void narrow_to_nearest(const float* values, std::size_t count, Precision precision, std::uint16_t* out) noexcept;
// Chances from a counter-based generator: `start` says which draw, the coordinate is the counter (kernels/HASHING.md).
void narrow_by_chance(const float* values, std::size_t count, Precision precision, std::uint64_t start,
                      std::uint16_t* out) noexcept;

// The start of the draws for one update of one row.
inline std::uint64_t rounding_start(std::uint64_t stream, std::int64_t key, std::uint32_t row_step) noexcept {
  return mix(mix(stream ^ mix(static_cast<std::uint64_t>(key) + kGolden)) + (row_step + std::uint64_t{1}) * kGolden);
}

}  // namespace springtide
