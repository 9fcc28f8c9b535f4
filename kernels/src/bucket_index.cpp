// SPDX-License-Identifier: Apache-2.0
#include "bucket_index.hpp"

#include <algorithm>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "hash.hpp"

namespace springtide {
namespace {

// A shard splits between 12k and 16k keys: rehashing one is a fraction of a millisecond.
constexpr std::uint32_t kSmallestSplit = 12 * 1024;
constexpr std::uint32_t kSplitJitter = 4 * 1024;
// The directory has an entry per prefix of the deepest shard. Integer ids are keys as they are and the hash can be
// inverted, so that ids could be made that share many leading bits: from here on a shard grows. Evenly spread keys come
// here at twelve thousand million.
constexpr unsigned kDeepest = 20;

// The largest number of keys in `buckets`: 86 % of the places. Above it, searches run over several lines.
std::size_t limit(std::size_t buckets) { return buckets * Bucket::kPlaces * 86 / 100; }

std::size_t buckets_for(std::size_t keys) {
  std::size_t buckets = keys * 100 / (86 * Bucket::kPlaces) + 1;
  while (limit(buckets) < keys) ++buckets;
  return buckets;
}

// Bit i is set where tag i equals `tag`.
unsigned matches(const Bucket& bucket, std::uint8_t tag) noexcept {
#if defined(__SSE2__)
  const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tag));
  const __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
  return static_cast<unsigned>(_mm_movemask_epi8(equal)) & 0xfffU;
#else
  unsigned found = 0;
  for (unsigned i = 0; i < Bucket::kPlaces; ++i) found |= static_cast<unsigned>(bucket.tag[i] == tag) << i;
  return found;
#endif
}

unsigned first(unsigned mask) noexcept { return static_cast<unsigned>(__builtin_ctz(mask)); }

}  // namespace

BucketIndex::BucketIndex(const RowStore& store) : store_(store) {
  shards_.emplace_back();
  shards_[0].buckets.assign(1, Bucket{});
  directory_.resize(1);
  publish(0);
}

std::uint32_t BucketIndex::find(std::uint64_t hash, std::int64_t key) const noexcept {
  const Entry& entry = directory_[slot(hash)];
  const std::uint8_t wanted = tag(hash);
  std::uint32_t at = home(hash, entry.count);
  for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
    const Bucket& bucket = entry.buckets[at];
    for (unsigned mask = matches(bucket, wanted); mask != 0; mask &= mask - 1) {
      const std::uint32_t row = bucket.row[first(mask)];
      if (store_.key(row) == key) return row;
    }
    if (bucket.overflow == 0) return kNoRow;
    if (++at == entry.count) at = 0;
  }
  return kNoRow;
}

void BucketIndex::prefetch_bucket(std::uint64_t hash) const noexcept {
  const Entry& entry = directory_[slot(hash)];
  __builtin_prefetch(entry.buckets + home(hash, entry.count));
}

void BucketIndex::prefetch_key(std::uint64_t hash) const noexcept {
  const Entry& entry = directory_[slot(hash)];
  const Bucket& bucket = entry.buckets[home(hash, entry.count)];
  const unsigned mask = matches(bucket, tag(hash));
  if (mask != 0) __builtin_prefetch(store_.key_address(bucket.row[first(mask)]));
}

void BucketIndex::place(Bucket* buckets, std::size_t count, std::uint64_t hash, std::uint32_t row) noexcept {
  std::size_t at = home(hash, count);
  for (;;) {
    Bucket& bucket = buckets[at];
    const unsigned empty = matches(bucket, 0);
    if (empty != 0) {
      bucket.tag[first(empty)] = tag(hash);
      bucket.row[first(empty)] = row;
      return;
    }
    ++bucket.overflow;
    if (++at == count) at = 0;
  }
}

void BucketIndex::insert(std::uint64_t hash, std::uint32_t row) noexcept {
  const Entry& entry = directory_[slot(hash)];
  place(entry.buckets, entry.count, hash, row);
  ++shards_[entry.shard].size;
}

void BucketIndex::erase(std::uint64_t hash, std::uint32_t row) noexcept {
  const Entry& entry = directory_[slot(hash)];
  const std::uint8_t wanted = tag(hash);
  std::uint32_t at = home(hash, entry.count);
  for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
    Bucket& bucket = entry.buckets[at];
    for (unsigned mask = matches(bucket, wanted); mask != 0; mask &= mask - 1) {
      if (bucket.row[first(mask)] != row) continue;
      bucket.tag[first(mask)] = 0;
      --shards_[entry.shard].size;
      // Undo the passing-by marks that inserting this key left.
      for (std::uint32_t passed = home(hash, entry.count); passed != at; passed = passed + 1 == entry.count ? 0 : passed + 1)
        --entry.buckets[passed].overflow;
      return;
    }
    if (++at == entry.count) at = 0;
  }
}

template <class Visit>
void BucketIndex::each_row(const Shard& shard, Visit visit) const {
  const std::size_t count = shard.buckets.size();
  constexpr std::size_t kAhead = 3;
  for (std::size_t b = 0; b < count + kAhead; ++b) {
    if (b < count) {
      const Bucket& next = shard.buckets[b];
      for (unsigned i = 0; i < Bucket::kPlaces; ++i)
        if (next.tag[i] != 0) __builtin_prefetch(store_.key_address(next.row[i]));
    }
    if (b < kAhead) continue;
    const Bucket& bucket = shard.buckets[b - kAhead];
    for (unsigned i = 0; i < Bucket::kPlaces; ++i)
      if (bucket.tag[i] != 0) visit(bucket.row[i], hash_key(store_.key(bucket.row[i])));
  }
}

// Jittered, or all shards of a table would split in the same step.
std::uint32_t BucketIndex::split_size(std::uint32_t shard) const noexcept {
  return kSmallestSplit + static_cast<std::uint32_t>(mix(shards_[shard].prefix + shards_[shard].depth) % kSplitJitter);
}

void BucketIndex::publish(std::uint32_t shard) noexcept {
  Shard& of = shards_[shard];
  const unsigned spare = depth_ - of.depth;
  const std::size_t begin = static_cast<std::size_t>(of.prefix << spare);
  const std::size_t end = begin + (std::size_t{1} << spare);
  for (std::size_t i = begin; i < end; ++i)
    directory_[i] = Entry{of.buckets.data(), static_cast<std::uint32_t>(of.buckets.size()), shard};
}

void BucketIndex::grow(std::uint32_t shard, std::size_t needed) {
  Shard& of = shards_[shard];
  const std::size_t count = std::max(of.buckets.size() + of.buckets.size() / 4 + 1, buckets_for(needed));
  Array<Bucket> larger(count, Bucket{});
  each_row(of, [&](std::uint32_t row, std::uint64_t hash) { place(larger.data(), count, hash, row); });
  of.buckets.swap(larger);
  publish(shard);
}

void BucketIndex::split(std::uint32_t shard) {
  std::uint32_t upper_size = 0;
  const unsigned bit = 63 - shards_[shard].depth;
  each_row(shards_[shard], [&](std::uint32_t, std::uint64_t hash) { upper_size += static_cast<std::uint32_t>(hash >> bit & 1); });
  Shard lower;
  Shard upper;
  lower.depth = upper.depth = shards_[shard].depth + 1;
  lower.prefix = shards_[shard].prefix << 1;
  upper.prefix = lower.prefix + 1;
  lower.size = shards_[shard].size - upper_size;
  upper.size = upper_size;
  // Up to a quarter of room to grow, jittered, so that the halves do not grow together later.
  const auto room = [](const Shard& half) {
    return half.size + half.size / 20 + half.size * static_cast<std::size_t>(mix(half.prefix ^ half.depth << 20) % 16) / 80;
  };
  lower.buckets.assign(buckets_for(room(lower) + 1), Bucket{});
  upper.buckets.assign(buckets_for(room(upper) + 1), Bucket{});
  Array<Entry> directory;
  const bool deepen = lower.depth > depth_;
  if (deepen) directory.resize(directory_.size() * 2);
  reserve_more(shards_, 1);
  // From here on nothing can fail.
  each_row(shards_[shard], [&](std::uint32_t row, std::uint64_t hash) {
    Array<Bucket>& half = (hash >> bit & 1) != 0 ? upper.buckets : lower.buckets;
    place(half.data(), half.size(), hash, row);
  });
  if (deepen) {
    for (std::size_t i = 0; i < directory_.size(); ++i) directory[2 * i] = directory[2 * i + 1] = directory_[i];
    directory_.swap(directory);
    ++depth_;
  }
  shards_[shard] = std::move(lower);
  shards_.push_back(std::move(upper));
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
        const std::size_t needed = std::size_t{shards_[shard].size} + shards_[shard].pending;
        if (needed <= limit(shards_[shard].buckets.size())) continue;
        if (needed > split_size(shard) && shards_[shard].depth < kDeepest) {
          split(shard);
          again = true;
        } else {
          grow(shard, needed);
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
  std::size_t total = directory_.capacity() * sizeof(Entry) + shards_.capacity() * sizeof(Shard);
  for (const Shard& shard : shards_) total += shard.buckets.capacity() * sizeof(Bucket);
  return total;
}

}  // namespace springtide
