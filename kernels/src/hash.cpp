// SPDX-License-Identifier: Apache-2.0
#include "hash.hpp"

#include <cstring>

namespace springtide {
namespace {

constexpr std::uint64_t kPrime1 = 0x9e3779b185ebca87ULL;
constexpr std::uint64_t kPrime2 = 0xc2b2ae3d27d4eb4fULL;
constexpr std::uint64_t kPrime3 = 0x165667b19e3779f9ULL;
constexpr std::uint64_t kPrime4 = 0x85ebca77c2b2ae63ULL;
constexpr std::uint64_t kPrime5 = 0x27d4eb2f165667c5ULL;

std::uint64_t rotate(std::uint64_t x, int by) noexcept { return (x << by) | (x >> (64 - by)); }

// The specification reads little-endian words.
template <class Word>
Word read(const unsigned char* place) noexcept {
  Word word;
  std::memcpy(&word, place, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  if constexpr (sizeof(Word) == 8) return __builtin_bswap64(word);
  return __builtin_bswap32(word);
#else
  return word;
#endif
}

std::uint64_t round(std::uint64_t lane, std::uint64_t input) noexcept {
  return rotate(lane + input * kPrime2, 31) * kPrime1;
}

std::uint64_t merge(std::uint64_t hash, std::uint64_t lane) noexcept {
  return (hash ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

std::uint64_t xxh64(const void* data, std::size_t length, std::uint64_t seed) noexcept {
  const auto* at = static_cast<const unsigned char*>(data);
  std::size_t left = length;
  std::uint64_t hash;
  if (left >= 32) {
    std::uint64_t lane1 = seed + kPrime1 + kPrime2;
    std::uint64_t lane2 = seed + kPrime2;
    std::uint64_t lane3 = seed;
    std::uint64_t lane4 = seed - kPrime1;
    for (; left >= 32; at += 32, left -= 32) {
      lane1 = round(lane1, read<std::uint64_t>(at));
      lane2 = round(lane2, read<std::uint64_t>(at + 8));
      lane3 = round(lane3, read<std::uint64_t>(at + 16));
      lane4 = round(lane4, read<std::uint64_t>(at + 24));
    }
    hash = rotate(lane1, 1) + rotate(lane2, 7) + rotate(lane3, 12) + rotate(lane4, 18);
    hash = merge(merge(merge(merge(hash, lane1), lane2), lane3), lane4);
  } else {
    hash = seed + kPrime5;
  }
  hash += length;
  for (; left >= 8; at += 8, left -= 8) hash = rotate(hash ^ round(0, read<std::uint64_t>(at)), 27) * kPrime1 + kPrime4;
  if (left >= 4) {
    hash = rotate(hash ^ (read<std::uint32_t>(at) * kPrime1), 23) * kPrime2 + kPrime3;
    at += 4;
    left -= 4;
  }
  for (; left > 0; ++at, --left) hash = rotate(hash ^ (*at * kPrime5), 11) * kPrime1;
  hash ^= hash >> 33;
  hash *= kPrime2;
  hash ^= hash >> 29;
  hash *= kPrime3;
  hash ^= hash >> 32;
  return hash;
}

}  // namespace springtide
