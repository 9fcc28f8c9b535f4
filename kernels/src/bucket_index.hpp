// Finds the row of a key: buckets of one cache line in hash shards that grow and split one at a time; holds no key itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "hash.hpp"
#include "memory.hpp"
#include "row_store.hpp"

namespace springtide {

// Twelve one-byte tags beside twelve row numbers. `overflow` counts the keys that wanted a place here or before and went
// further, so that a search knows where to stop and erasing needs no tombstones.
struct alignas(kCacheLine) Bucket {
  static constexpr unsigned kPlaces = 12;
  std::uint8_t tag[kPlaces];  // 0 = empty
  std::uint32_t overflow;
  std::uint32_t row[kPlaces];

  // Bit i is set where tag i equals `wanted`.
  unsigned matches(std::uint8_t wanted) const noexcept {
#if defined(__SSE2__)
    const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(tag));
    const __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(wanted)));
    return static_cast<unsigned>(_mm_movemask_epi8(equal)) & 0xfffU;
#else
    unsigned found = 0;
    for (unsigned i = 0; i < kPlaces; ++i) found |= static_cast<unsigned>(tag[i] == wanted) << i;
    return found;
#endif
  }
};
static_assert(sizeof(Bucket) == kCacheLine, "a probe reads one cache line");

class BucketIndex {
 public:
  explicit BucketIndex(const RowStore& store);
  ~BucketIndex();
  BucketIndex(const BucketIndex&) = delete;
  BucketIndex& operator=(const BucketIndex&) = delete;

  std::uint32_t find(std::uint64_t hash, std::int64_t key) const noexcept {
    const Entry& entry = directory_[slot(hash)];
    const std::uint8_t wanted = tag(hash);
    std::uint32_t at = home(hash, entry.count);
    for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
      const Bucket& bucket = entry.buckets[at];
      for (unsigned mask = bucket.matches(wanted); mask != 0; mask &= mask - 1) {
        const std::uint32_t row = bucket.row[__builtin_ctz(mask)];
        if (store_.key(row) == key) return row;
      }
      if (bucket.overflow == 0) return kNoRow;
      if (++at == entry.count) at = 0;
    }
    return kNoRow;
  }
  void prefetch_bucket(std::uint64_t hash) const noexcept {
    const Entry& entry = directory_[slot(hash)];
    __builtin_prefetch(entry.buckets + home(hash, entry.count));
  }
  // Call some steps after prefetch_bucket: the row whose tag matches first in the home bucket, or kNoRow. It is the key's row
  // but in one of about thirty cases, and its key and values may be asked for before find() knows.
  std::uint32_t likely(std::uint64_t hash) const noexcept {
    const Entry& entry = directory_[slot(hash)];
    const Bucket& bucket = entry.buckets[home(hash, entry.count)];
    const unsigned mask = bucket.matches(tag(hash));
    return mask == 0 ? kNoRow : bucket.row[__builtin_ctz(mask)];
  }

  // Makes room for these hashes; throws std::bad_alloc, and then every key is still found.
  void reserve(const std::uint64_t* hashes, std::size_t count);
  // `row` must be absent and room reserved.
  void insert(std::uint64_t hash, std::uint32_t row) noexcept;
  void erase(std::uint64_t hash, std::uint32_t row) noexcept;
  // The key of `hash` has moved to another row.
  void replace(std::uint64_t hash, std::uint32_t row, std::uint32_t by) noexcept;

  // Calls visit(row, hash) for every key whose hash has its lower 32 bits in [first, last]. Which keys these are does not
  // depend on how the shards have grown, so that a sweep over the table survives a restore.
  template <class Visit>
  void each_in(std::uint32_t first, std::uint32_t last, Visit visit) const;
  std::size_t count_in(std::uint32_t first, std::uint32_t last) const noexcept;

  std::size_t bytes() const noexcept;
  std::size_t shards() const noexcept { return shards_.size(); }

 private:
  struct Shard {
    Bucket* buckets = nullptr;
    std::uint32_t count = 0;
    std::uint32_t size = 0;
    std::uint32_t pending = 0;
    unsigned depth = 0;  // leading hash bits that all its keys share
    std::uint64_t prefix = 0;
  };
  // One entry per leading-bits prefix; copies of what a search needs, so that it reads one line here.
  struct Entry {
    Bucket* buckets;
    std::uint32_t count;
    std::uint32_t shard;
  };

  std::size_t slot(std::uint64_t hash) const noexcept { return (hash >> 1) >> (63 - depth_); }
  static std::uint32_t home(std::uint64_t hash, std::size_t buckets) noexcept {
    return static_cast<std::uint32_t>(((hash & 0xffffffffU) * buckets) >> 32);
  }
  static std::uint8_t tag(std::uint64_t hash) noexcept {
    const auto byte = static_cast<std::uint8_t>(hash >> 32);
    return byte == 0 ? std::uint8_t{1} : byte;
  }
  static void place(Bucket* buckets, std::size_t count, std::uint64_t hash, std::uint32_t row) noexcept;
  template <class Visit>
  void each_row(const Shard& shard, Visit visit) const;
  static Bucket* take(std::size_t count);
  static void give_back(const Shard& shard) noexcept;
  std::uint32_t* place_of(std::uint64_t hash, std::uint32_t row, std::uint8_t** tag_place, std::uint32_t* at) noexcept;
  std::uint32_t split_size(std::uint32_t shard) const noexcept;
  void grow(std::uint32_t shard, std::size_t needed);
  void split(std::uint32_t shard);
  void publish(std::uint32_t shard) noexcept;

  const RowStore& store_;
  unsigned depth_ = 0;
  Array<Entry> directory_;
  std::vector<Shard, Allocator<Shard>> shards_;
  Array<std::uint32_t> affected_;
};

template <class Visit>
void BucketIndex::each_in(std::uint32_t first, std::uint32_t last, Visit visit) const {
  for (const Shard& shard : shards_) {
    const std::uint32_t begin = home(first, shard.count);
    const std::uint32_t end = home(last, shard.count);
    std::uint32_t at = begin;
    for (std::uint32_t probes = 0; probes < shard.count; ++probes) {
      const Bucket& bucket = shard.buckets[at];
      for (unsigned i = 0; i < Bucket::kPlaces; ++i) {
        if (bucket.tag[i] == 0) continue;
        const std::uint64_t hash = hash_key(store_.key(bucket.row[i]));
        const auto low = static_cast<std::uint32_t>(hash);
        if (low >= first && low <= last) visit(bucket.row[i], hash);
      }
      // A key stands beyond its home only where every bucket in between was passed by.
      if (probes >= end - begin && bucket.overflow == 0) break;
      if (++at == shard.count) at = 0;
    }
  }
}

}  // namespace springtide
