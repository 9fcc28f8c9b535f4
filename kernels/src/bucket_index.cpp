// SPDX-License-Identifier: Apache-2.0
#include "bucket_index.hpp"

#include <algorithm>

namespace springtide {
namespace {

// A shard splits between 3k and 5k keys: rehashing one takes a tenth of a millisecond.
constexpr std::uint32_t kSmallestSplit = 3 * 1024;
constexpr std::uint32_t kSplitJitter = 2 * 1024;
// The directory has an entry per prefix of the deepest shard. Integer ids are keys as they are and the hash can be
// inverted, so that ids could be made that share many leading bits: from here on a shard grows. Evenly spread keys come
// here at three thousand million.
constexpr unsigned kDeepest = 20;

// The largest number of keys in `buckets`: 86 % of the places. Above it, searches run over several lines.
std::size_t limit(std::size_t buckets) { return buckets * Bucket::kPlaces * 86 / 100; }

std::size_t buckets_for(std::size_t keys) {
  std::size_t buckets = keys * 100 / (86 * Bucket::kPlaces) + 1;
  while (limit(buckets) < keys) ++buckets;
  return buckets;
}

// Shards grow by a sixth: little room stands empty, and what one leaves behind is of a size that another will want.
std::size_t next_size(std::size_t buckets) { return buckets + std::max<std::size_t>(1, buckets / 6); }

std::size_t size_for(std::size_t keys) {
  const std::size_t least = buckets_for(keys);
  std::size_t buckets = 1;
  while (buckets < least) buckets = next_size(buckets);
  return buckets;
}

}  // namespace

BucketIndex::BucketIndex(const RowStore& store) : store_(store) {
  directory_.resize(1);
  shards_.emplace_back();
  shards_[0].buckets = take(1);
  shards_[0].count = 1;
  publish(0);
}

BucketIndex::~BucketIndex() {
  for (const Shard& shard : shards_) give_back(shard);
}

Bucket* BucketIndex::take(std::size_t count) {
  void* memory = allocate(count * sizeof(Bucket));
  std::memset(memory, 0, count * sizeof(Bucket));
  return static_cast<Bucket*>(memory);
}

void BucketIndex::give_back(const Shard& shard) noexcept {
  release(shard.buckets, shard.count * sizeof(Bucket));
}

void BucketIndex::place(Bucket* buckets, std::size_t count, std::uint64_t hash, std::uint32_t row) noexcept {
  std::size_t at = home(hash, count);
  for (;;) {
    Bucket& bucket = buckets[at];
    const unsigned empty = bucket.matches(0);
    if (empty != 0) {
      bucket.tag[__builtin_ctz(empty)] = tag(hash);
      bucket.row[__builtin_ctz(empty)] = row;
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

// Where the index says `row`; null if it does not.
std::uint32_t* BucketIndex::place_of(std::uint64_t hash, std::uint32_t row, std::uint8_t** tag_place,
                                     std::uint32_t* found_at) noexcept {
  const Entry& entry = directory_[slot(hash)];
  const std::uint8_t wanted = tag(hash);
  std::uint32_t at = home(hash, entry.count);
  for (std::uint32_t probes = 0; probes < entry.count; ++probes) {
    Bucket& bucket = entry.buckets[at];
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
    --entry.buckets[passed].overflow;
}

void BucketIndex::replace(std::uint64_t hash, std::uint32_t row, std::uint32_t by) noexcept {
  std::uint8_t* tag_place = nullptr;
  std::uint32_t at = 0;
  std::uint32_t* place = place_of(hash, row, &tag_place, &at);
  if (place != nullptr) *place = by;
}

template <class Visit>
void BucketIndex::each_row(const Shard& shard, Visit visit) const {
  const std::size_t count = shard.count;
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
    directory_[i] = Entry{of.buckets, of.count, shard};
}

void BucketIndex::grow(std::uint32_t shard, std::size_t needed) {
  const std::size_t count = std::max(next_size(shards_[shard].count), size_for(needed));
  Bucket* larger = take(count);
  Shard& of = shards_[shard];
  each_row(of, [&](std::uint32_t row, std::uint64_t hash) { place(larger, count, hash, row); });
  give_back(of);
  of.buckets = larger;
  of.count = static_cast<std::uint32_t>(count);
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
  lower.count = static_cast<std::uint32_t>(size_for(room(lower) + 1));
  upper.count = static_cast<std::uint32_t>(size_for(room(upper) + 1));
  Array<Entry> directory;
  const bool deepen = lower.depth > depth_;
  if (deepen) directory.resize(directory_.size() * 2);
  reserve_more(shards_, 1);
  lower.buckets = take(lower.count);
  try {
    upper.buckets = take(upper.count);
  } catch (...) {
    give_back(lower);
    throw;
  }
  // From here on nothing can fail.
  each_row(shards_[shard], [&](std::uint32_t row, std::uint64_t hash) {
    const Shard& half = (hash >> bit & 1) != 0 ? upper : lower;
    place(half.buckets, half.count, hash, row);
  });
  if (deepen) {
    for (std::size_t i = 0; i < directory_.size(); ++i) directory[2 * i] = directory[2 * i + 1] = directory_[i];
    directory_.swap(directory);
    ++depth_;
  }
  give_back(shards_[shard]);
  shards_[shard] = lower;
  shards_.push_back(upper);
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
        if (needed <= limit(shards_[shard].count)) continue;
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
  for (const Shard& shard : shards_) total += shard.count * sizeof(Bucket);
  return total;
}

std::size_t BucketIndex::count_in(std::uint32_t first, std::uint32_t last) const noexcept {
  std::size_t count = 0;
  each_in(first, last, [&](std::uint32_t, std::uint64_t) { ++count; });
  return count;
}

}  // namespace springtide
