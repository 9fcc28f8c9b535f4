// Finds the row of a key: buckets of one cache line in hash shards that grow and split one at a time; holds no key itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

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
};
static_assert(sizeof(Bucket) == kCacheLine, "a probe reads one cache line");

class BucketIndex {
 public:
  explicit BucketIndex(const RowStore& store);

  std::uint32_t find(std::uint64_t hash, std::int64_t key) const noexcept;
  void prefetch_bucket(std::uint64_t hash) const noexcept;
  // Call some steps after prefetch_bucket: reads the bucket's tags, asks for the first matching row's key.
  void prefetch_key(std::uint64_t hash) const noexcept;

  // Makes room for these hashes; throws std::bad_alloc, and then every key is still found.
  void reserve(const std::uint64_t* hashes, std::size_t count);
  // `row` must be absent and room reserved.
  void insert(std::uint64_t hash, std::uint32_t row) noexcept;
  void erase(std::uint64_t hash, std::uint32_t row) noexcept;

  std::size_t bytes() const noexcept;
  std::size_t shards() const noexcept { return shards_.size(); }

 private:
  struct Shard {
    Array<Bucket> buckets;
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

}  // namespace springtide
