// Hashes with a fixed meaning (see kernels/HASHING.md); changing one changes every model. Knows no table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace springtide {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;  // 2^64 / the golden ratio

// Finalizer of SplitMix64 (Stafford's variant 13): a bijection of 64 bits.
inline std::uint64_t mix(std::uint64_t x) noexcept {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

// Where a key lives inside a table; the constant keeps key 0 away from hash 0.
inline std::uint64_t hash_key(std::int64_t key) noexcept {
  return mix(static_cast<std::uint64_t>(key) + kGolden);
}

// XXH64 (Yann Collet's specification) of `length` bytes.
std::uint64_t xxh64(const void* data, std::size_t length, std::uint64_t seed) noexcept;

}  // namespace springtide
