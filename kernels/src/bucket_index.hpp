// Finds the row of a key: buckets of one cache line in hash shards that grow and split one at a time; holds no key itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "bucket_pages.hpp"
#include "hash.hpp"
#include "memory.hpp"
#include "row_store.hpp"

namespace springtide {

class BucketIndex {
 public:
  explicit BucketIndex(const RowStore& store);
  BucketIndex(const BucketIndex&) = delete;
  BucketIndex& operator=(const BucketIndex&) = delete;

  std::uint32_t find(std::uint64_t hash, std::int64_t key) const noexcept {
    const Entry& entry = directory_[slot(hash)];
    const std::uint8_t wanted = tag(hash);
    std::uint32_t at = home(hash, entry.count);
    for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
      const Bucket& bucket = *bucket_of(entry, at);
      for (unsigned mask = bucket.matches(wanted); mask != 0; mask &= mask - 1) {
        const std::uint32_t row = bucket.row[__builtin_ctz(mask)];
        if (store_.key(row) == key) return row;
      }
      if (bucket.overflow == 0) return kNoRow;
      if (++at == entry.count) at = 0;
    }
    return kNoRow;
  }
  // For searches of many keys, each in steps that leave the memory time between them: where the key should stand, to be
  // prefetched; then the row whose tag matches first there, or kNoRow, which is the key's row but in one of about ten cases;
  // then find().
  const Bucket* home_bucket(std::uint64_t hash) const noexcept {
    const Entry& entry = directory_[slot(hash)];
    return bucket_of(entry, home(hash, entry.count));
  }
  static std::uint32_t likely(const Bucket& bucket, std::uint64_t hash) noexcept {
    const unsigned mask = bucket.matches(tag(hash));
    return mask == 0 ? kNoRow : bucket.row[__builtin_ctz(mask)];
  }
  std::uint32_t find(std::uint64_t hash, std::int64_t key, std::uint32_t likely) const noexcept {
    return likely != kNoRow && store_.key(likely) == key ? likely : find(hash, key);
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
  // Pages of a shard: it grows by one, and a full one splits.
  static constexpr std::uint32_t kMostPages = 6;
  // What a search needs of a shard; two to a cache line.
  struct Entry {
    std::uint32_t pages[kMostPages];
    std::uint32_t count;  // buckets
    std::uint32_t shard;
  };
  static_assert(sizeof(Entry) == kCacheLine / 2, "a directory that stays in the second cache");
  struct Shard {
    Entry entry{};
    std::uint32_t size = 0;
    std::uint32_t pending = 0;
    unsigned depth = 0;  // leading bits of the scattered hash that all its keys share
    std::uint64_t prefix = 0;
  };

  // Integer ids are keys as they are and the hash can be inverted, so that ids could be made that share many leading bits and
  // split one shard for ever; times an odd number that nobody knows, they do not. Then x becomes (2x + x^2) / 3 of the whole
  // range: shards at its lower end get twice the keys of those at its upper end, so that the sizes of all shards of a table
  // spread over an octave, and they grow and split one after the other instead of all within a few steps (as in Martin's
  // spiral storage, 1979). Nothing outside may depend on it.
  std::uint64_t scattered(std::uint64_t hash) const noexcept {
    using Wide = unsigned __int128;
    const std::uint64_t even = hash * scatter_;
    const std::uint64_t part = even / 2 + static_cast<std::uint64_t>(static_cast<Wide>(even) * even >> 66);
    return part + part / 3;
  }
  std::size_t slot(std::uint64_t hash) const noexcept { return (scattered(hash) >> 1) >> (63 - depth_); }
  Bucket* bucket_of(const Entry& entry, std::uint32_t at) const noexcept {
    return pages_.page(entry.pages[at >> BucketPages::kShift]) + at % BucketPages::kBuckets;
  }
  static std::uint32_t home(std::uint64_t hash, std::size_t buckets) noexcept {
    return static_cast<std::uint32_t>(((hash & 0xffffffffU) * buckets) >> 32);
  }
  static std::uint8_t tag(std::uint64_t hash) noexcept {
    const auto byte = static_cast<std::uint8_t>(hash >> 32);
    return byte == 0 ? std::uint8_t{1} : byte;
  }
  void place(const Entry& entry, std::uint64_t hash, std::uint32_t row) noexcept;
  static std::uint32_t pages_of(const Shard& shard) noexcept { return shard.entry.count >> BucketPages::kShift; }
  void set_pages(Shard& shard, std::uint32_t pages) noexcept;
  void take_out(const Shard& shard) noexcept;
  std::uint32_t* place_of(std::uint64_t hash, std::uint32_t row, std::uint8_t** tag_place, std::uint32_t* at) noexcept;
  void make_room_to_move(std::size_t count);
  void grow(std::uint32_t shard, std::uint32_t pages);
  void split(std::uint32_t shard);
  void publish(std::uint32_t shard) noexcept;

  const RowStore& store_;
  const std::uint64_t scatter_;
  unsigned depth_ = 0;
  BucketPages pages_;
  Array<Entry> directory_;  // one per leading-bits prefix
  std::vector<Shard, Allocator<Shard>> shards_;
  Array<std::uint32_t> affected_;
  struct Placed {
    std::uint64_t hash;
    std::uint32_t row;
  };
  Array<Placed> moving_;  // the rows of a shard that is being rebuilt
};

template <class Visit>
void BucketIndex::each_in(std::uint32_t first, std::uint32_t last, Visit visit) const {
  for (const Shard& shard : shards_) {
    const std::uint32_t begin = home(first, shard.entry.count);
    const std::uint32_t end = home(last, shard.entry.count);
    std::uint32_t at = begin;
    for (std::uint32_t probes = 0; probes < shard.entry.count; ++probes) {
      const Bucket& bucket = *bucket_of(shard.entry, at);
      for (unsigned i = 0; i < Bucket::kPlaces; ++i) {
        if (bucket.tag[i] == 0) continue;
        const std::uint64_t hash = hash_key(store_.key(bucket.row[i]));
        const auto low = static_cast<std::uint32_t>(hash);
        if (low >= first && low <= last) visit(bucket.row[i], hash);
      }
      // A key stands beyond its home only where every bucket in between was passed by.
      if (probes >= end - begin && bucket.overflow == 0) break;
      if (++at == shard.entry.count) at = 0;
    }
  }
}

}  // namespace springtide
