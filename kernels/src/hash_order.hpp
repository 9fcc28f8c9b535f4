// Finds a key among keys that stand in hash order (checkpointing/FORMAT.md 3.2): a directory of 16-byte buckets over them;
// knows neither where the keys lie nor what belongs to them.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "row_store.hpp"

namespace springtide {

// The order of rows in a pack. A bijection, so that equal hashes are equal keys.
inline std::uint64_t pack_hash(std::int64_t key) noexcept {
  constexpr std::uint64_t kMultiplier = 0xd6e8feb86659fd93ULL;
  auto x = static_cast<std::uint64_t>(key);
  x ^= x >> 32;
  x *= kMultiplier;
  x ^= x >> 32;
  x *= kMultiplier;
  return x ^ x >> 32;
}

// Where the keys of one range of hashes begin, and one byte of each of the first twelve. The next bucket says where they end.
struct alignas(16) HashBucket {
  static constexpr unsigned kTags = 12;
  std::uint32_t first;
  std::uint8_t tag[kTags];  // 0 = no such key

  // Bit i is set where tag i equals `wanted`.
  unsigned matches(std::uint8_t wanted) const noexcept {
#if defined(__SSE2__)
    const __m128i all = _mm_load_si128(reinterpret_cast<const __m128i*>(this));
    const __m128i equal = _mm_cmpeq_epi8(all, _mm_set1_epi8(static_cast<char>(wanted)));
    return static_cast<unsigned>(_mm_movemask_epi8(equal)) >> sizeof first;
#else
    unsigned found = 0;
    for (unsigned i = 0; i < kTags; ++i) found |= static_cast<unsigned>(tag[i] == wanted) << i;
    return found;
#endif
  }
};
static_assert(sizeof(HashBucket) == 16, "a bucket is one comparison");

inline std::uint8_t hash_tag(std::uint64_t hash) noexcept {
  const auto byte = static_cast<std::uint8_t>(hash);
  return byte == 0 ? std::uint8_t{1} : byte;
}

// `Entry` begins with its key.
template <class Entry>
class HashOrder {
 public:
  // Six keys a bucket: of a hundred buckets one has more keys than tags.
  static std::size_t buckets_for(std::size_t keys) noexcept { return keys / 6 + 1; }
  static std::size_t bytes_for(std::size_t keys) noexcept { return (buckets_for(keys) + 1) * sizeof(HashBucket); }

  HashOrder() = default;
  HashOrder(const HashBucket* buckets, const Entry* entries, std::size_t count) noexcept
      : buckets_(buckets), entries_(entries), bucket_count_(buckets_for(count)), count_(static_cast<std::uint32_t>(count)) {}

  std::uint32_t size() const noexcept { return count_; }
  const Entry& operator[](std::size_t at) const noexcept { return entries_[at]; }
  const HashBucket* buckets() const noexcept { return buckets_; }
  const Entry* entries() const noexcept { return entries_; }

  std::uint32_t find(std::uint64_t hash, std::int64_t key) const noexcept {
    if (count_ == 0) return kNoRow;
    const HashBucket* bucket = home(hash);
    for (unsigned mask = bucket->matches(hash_tag(hash)); mask != 0; mask &= mask - 1) {
      const std::uint32_t at = bucket->first + static_cast<std::uint32_t>(__builtin_ctz(mask));
      if (key_of(at) == key) return at;
    }
    if (bucket->tag[HashBucket::kTags - 1] == 0) return kNoRow;
    for (std::uint32_t at = bucket->first + HashBucket::kTags; at < bucket[1].first; ++at)
      if (key_of(at) == key) return at;
    return kNoRow;
  }
  void prefetch_bucket(std::uint64_t hash) const noexcept {
    if (count_ != 0) __builtin_prefetch(home(hash));
  }
  // Call some steps after prefetch_bucket: the first entry whose tag matches, or kNoRow; nearly always the key's.
  std::uint32_t likely(std::uint64_t hash) const noexcept {
    if (count_ == 0) return kNoRow;
    const HashBucket* bucket = home(hash);
    const unsigned mask = bucket->matches(hash_tag(hash));
    return mask == 0 ? kNoRow : bucket->first + static_cast<std::uint32_t>(__builtin_ctz(mask));
  }

 private:
  const HashBucket* home(std::uint64_t hash) const noexcept { return buckets_ + ((hash >> 32) * bucket_count_ >> 32); }
  std::int64_t key_of(std::uint32_t at) const noexcept { return *reinterpret_cast<const std::int64_t*>(entries_ + at); }

  const HashBucket* buckets_ = nullptr;
  const Entry* entries_ = nullptr;
  std::uint64_t bucket_count_ = 0;
  std::uint32_t count_ = 0;
};

// Writes the buckets over keys that come in hash order.
class HashOrderWriter {
 public:
  // `buckets` holds bytes_for(keys) zero bytes.
  HashOrderWriter(HashBucket* buckets, std::size_t bucket_count) noexcept
      : buckets_(buckets), bucket_count_(bucket_count) {}

  void add(std::uint64_t hash) noexcept {
    const std::uint64_t home = (hash >> 32) * bucket_count_ >> 32;
    while (next_ <= home) buckets_[next_++].first = added_;
    HashBucket& bucket = buckets_[home];
    const std::uint32_t place = added_++ - bucket.first;
    if (place < HashBucket::kTags) bucket.tag[place] = hash_tag(hash);
  }
  void finish() noexcept {
    while (next_ <= bucket_count_) buckets_[next_++].first = added_;
  }

 private:
  HashBucket* buckets_;
  std::uint64_t bucket_count_;
  std::uint64_t next_ = 0;
  std::uint32_t added_ = 0;
};

}  // namespace springtide
