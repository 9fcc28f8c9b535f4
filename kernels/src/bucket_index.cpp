// SPDX-License-Identifier: Apache-2.0
#include "bucket_index.hpp"

#include <algorithm>

namespace springtide {
namespace {

constexpr std::size_t kPagePlaces = std::size_t{BucketPages::kBuckets} * Bucket::kPlaces;

// The largest number of keys in so many pages of a shard: 88 % of the places, since above it searches run over several lines.
constexpr std::size_t limit(std::uint32_t pages) { return pages * kPagePlaces * 88 / 100; }

}  // namespace

BucketIndex::BucketIndex(const RowStore& store) : store_(store), scatter_(mix(reinterpret_cast<std::uintptr_t>(this)) | 1) {
  directory_.resize(1);
  shards_.emplace_back();
  pages_.reserve(1);
  set_pages(shards_[0], 1);
  publish(0);
}

void BucketIndex::place(const Entry& entry, std::uint64_t hash, std::uint32_t row) noexcept {
  std::uint32_t at = home(hash, entry.count);
  for (;;) {
    Bucket& bucket = *bucket_of(entry, at);
    const unsigned empty = bucket.matches(0);
    if (empty != 0) {
      bucket.tag[__builtin_ctz(empty)] = tag(hash);
      bucket.row[__builtin_ctz(empty)] = row;
      return;
    }
    ++bucket.overflow;
    if (++at == entry.count) at = 0;
  }
}

void BucketIndex::insert(std::uint64_t hash, std::uint32_t row) noexcept {
  const Entry& entry = directory_[slot(hash)];
  place(entry, hash, row);
  ++shards_[entry.shard].size;
}

// Where the index says `row`; null if it does not.
std::uint32_t* BucketIndex::place_of(std::uint64_t hash, std::uint32_t row, std::uint8_t** tag_place,
                                     std::uint32_t* found_at) noexcept {
  const Entry& entry = directory_[slot(hash)];
  const std::uint8_t wanted = tag(hash);
  std::uint32_t at = home(hash, entry.count);
  for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
    Bucket& bucket = *bucket_of(entry, at);
    for (unsigned mask = bucket.matches(wanted); mask != 0; mask &= mask - 1) {
      const auto place = static_cast<unsigned>(__builtin_ctz(mask));
      if (bucket.row[place] != row) continue;
      *tag_place = bucket.tag + place;
      *found_at = at;
      return bucket.row + place;
    }
    if (++at == entry.count) at = 0;
  }
  return nullptr;
}

void BucketIndex::erase(std::uint64_t hash, std::uint32_t row) noexcept {
  std::uint8_t* tag_place = nullptr;
  std::uint32_t at = 0;
  if (place_of(hash, row, &tag_place, &at) == nullptr) return;
  *tag_place = 0;
  const Entry& entry = directory_[slot(hash)];
  --shards_[entry.shard].size;
  // Undo the passing-by marks that inserting this key left.
  for (std::uint32_t passed = home(hash, entry.count); passed != at; passed = passed + 1 == entry.count ? 0 : passed + 1)
    --bucket_of(entry, passed)->overflow;
}

void BucketIndex::replace(std::uint64_t hash, std::uint32_t row, std::uint32_t by) noexcept {
  std::uint8_t* tag_place = nullptr;
  std::uint32_t at = 0;
  std::uint32_t* place = place_of(hash, row, &tag_place, &at);
  if (place != nullptr) *place = by;
}

void BucketIndex::publish(std::uint32_t shard) noexcept {
  Shard& of = shards_[shard];
  of.entry.shard = shard;
  const unsigned spare = depth_ - of.depth;
  const std::size_t begin = static_cast<std::size_t>(of.prefix << spare);
  std::fill_n(directory_.begin() + static_cast<std::ptrdiff_t>(begin), std::size_t{1} << spare, of.entry);
}

// Takes or gives back pages; room must be reserved.
void BucketIndex::set_pages(Shard& shard, std::uint32_t pages) noexcept {
  std::uint32_t there = pages_of(shard);
  while (there < pages) shard.entry.pages[there++] = pages_.take();
  while (there > pages) pages_.give_back(shard.entry.pages[--there]);
  shard.entry.count = pages * BucketPages::kBuckets;
}

// The rows of a shard with their hashes, into `moving_`, which must have room.
void BucketIndex::take_out(const Shard& shard) noexcept {
  constexpr std::uint32_t kAhead = 3;
  for (std::uint32_t b = 0; b < shard.entry.count + kAhead; ++b) {
    if (b < shard.entry.count) {
      const Bucket& next = *bucket_of(shard.entry, b);
      for (unsigned i = 0; i < Bucket::kPlaces; ++i)
        if (next.tag[i] != 0) store_.prefetch(next.row[i], 0);
    }
    if (b < kAhead) continue;
    const Bucket& bucket = *bucket_of(shard.entry, b - kAhead);
    for (unsigned i = 0; i < Bucket::kPlaces; ++i)
      if (bucket.tag[i] != 0) moving_.push_back(Placed{hash_key(store_.key(bucket.row[i])), bucket.row[i]});
  }
}

void BucketIndex::make_room_to_move(std::size_t count) {
  moving_.clear();
  reserve_more(moving_, count);
}

void BucketIndex::grow(std::uint32_t shard, std::uint32_t pages) {
  Shard& of = shards_[shard];
  make_room_to_move(of.size);
  pages_.reserve(pages - pages_of(of));
  // From here on nothing can fail.
  take_out(of);
  for (std::uint32_t page = 0; page < pages_of(of); ++page) pages_.clear(of.entry.pages[page]);
  set_pages(of, pages);
  for (const Placed& one : moving_) place(of.entry, one.hash, one.row);
  publish(shard);
}

void BucketIndex::split(std::uint32_t shard) {
  make_room_to_move(shards_[shard].size);
  Array<Entry> directory;
  const bool deepen = shards_[shard].depth == depth_;
  if (deepen) directory.resize(directory_.size() * 2);
  reserve_more(shards_, 1);
  pages_.reserve(2 * kMostPages);
  // From here on nothing can fail.
  take_out(shards_[shard]);
  set_pages(shards_[shard], 0);
  Shard halves[2];
  for (unsigned upper = 0; upper < 2; ++upper) {
    halves[upper].depth = shards_[shard].depth + 1;
    halves[upper].prefix = shards_[shard].prefix * 2 + upper;
  }
  const unsigned bit = 63 - shards_[shard].depth;
  for (const Placed& one : moving_) ++halves[scattered(one.hash) >> bit & 1].size;
  for (Shard& half : halves) {
    std::uint32_t pages = 1;
    while (pages < kMostPages && limit(pages) < half.size) ++pages;
    set_pages(half, pages);
  }
  for (const Placed& one : moving_) place(halves[scattered(one.hash) >> bit & 1].entry, one.hash, one.row);
  if (deepen) {
    for (std::size_t i = 0; i < directory_.size(); ++i) directory[2 * i] = directory[2 * i + 1] = directory_[i];
    directory_.swap(directory);
    ++depth_;
  }
  shards_[shard] = halves[0];
  shards_.push_back(halves[1]);
  publish(shard);
  publish(static_cast<std::uint32_t>(shards_.size() - 1));
}

void BucketIndex::reserve(const std::uint64_t* hashes, std::size_t count) {
  if (count == 0) return;
  // One round per doubling: a split hands its pending keys to two shards, which must be counted anew.
  for (bool again = true; again;) {
    again = false;
    affected_.clear();
    reserve_more(affected_, std::min(count, shards_.size()));
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t shard = directory_[slot(hashes[i])].shard;
      if (shards_[shard].pending++ == 0) affected_.push_back(shard);
    }
    try {
      for (const std::uint32_t shard : affected_) {
        const Shard& of = shards_[shard];
        const std::size_t needed = std::size_t{of.size} + of.pending;
        std::uint32_t pages = pages_of(of);
        while (pages <= kMostPages && limit(pages) < needed) ++pages;
        if (pages > kMostPages) {
          split(shard);
          again = true;
        } else if (pages > pages_of(of)) {
          grow(shard, pages);
        }
      }
    } catch (...) {
      for (const std::uint32_t shard : affected_) shards_[shard].pending = 0;
      throw;
    }
    for (const std::uint32_t shard : affected_) shards_[shard].pending = 0;
  }
}

std::size_t BucketIndex::bytes() const noexcept {
  return pages_.bytes() + directory_.capacity() * sizeof(Entry) + shards_.capacity() * sizeof(Shard) +
         moving_.capacity() * sizeof(Placed);
}

std::size_t BucketIndex::count_in(std::uint32_t first, std::uint32_t last) const noexcept {
  std::size_t count = 0;
  each_in(first, last, [&](std::uint32_t, std::uint64_t) { ++count; });
  return count;
}

}  // namespace springtide
