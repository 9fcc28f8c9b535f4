// SPDX-License-Identifier: Apache-2.0
#include "row_store.hpp"

namespace springtide {
namespace {

// About a megabyte: few enough that their list stays in the cache, small enough to be no memory spike.
constexpr std::size_t kSlabBytes = std::size_t{1} << 20;
constexpr unsigned kSmallestSlabShift = 6;  // whole words of touched marks
constexpr unsigned kLargestSlabShift = 13;

std::size_t lines(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

}  // namespace

RowStore::RowStore(const Array<std::size_t>& row_bytes, bool metadata)
    : metadata_(metadata),
      head_bytes_(metadata ? sizeof(Metadata) : sizeof(std::int64_t)),
      shift_(kSmallestSlabShift),
      memory_(make_slab_memory()) {
  const std::size_t largest = row_bytes.back() + head_bytes_;
  while (shift_ < kLargestSlabShift && (largest << (shift_ + 1)) <= kSlabBytes + kSlabBytes / 4) ++shift_;
  mask_ = (1U << shift_) - 1U;
  for (const std::size_t bytes : row_bytes) {
    rungs_.emplace_back();
    rungs_.back().row_bytes = bytes;
  }
}

void RowStore::reserve(unsigned at, std::size_t extra) {
  Rung& rung = rungs_[at];
  const std::size_t there = rung.free_count + rung.unused;
  if (extra <= there) return;
  const std::size_t wanted = (extra - there + mask_) >> shift_;
  if (slabs_.size() + wanted > kNoRow >> shift_) throw std::bad_alloc();
  reserve_more(slabs_, wanted);
  reserve_more(touched_, wanted * (slab_rows() / 64));
  reserve_more(rung.room, wanted);
  const std::size_t record_bytes = head_bytes_ + rung.row_bytes;
  for (std::size_t i = 0; i < wanted; ++i) {
    unsigned char* memory = memory_->take(lines(slab_rows() * record_bytes));
    // The next one last: slabs are used in the order in which they stand.
    rung.room.insert(rung.room.begin(), static_cast<std::uint32_t>(slabs_.size()));
    slabs_.push_back(Slab{memory, static_cast<std::uint32_t>(record_bytes), 0, static_cast<std::uint16_t>(at)});
    touched_.resize(slabs_.size() * (slab_rows() / 64), 0);
    rung.unused += slab_rows();
  }
}

std::uint32_t RowStore::take(unsigned at, std::int64_t key) noexcept {
  Rung& rung = rungs_[at];
  std::uint32_t r = rung.free;
  if (r != kNoRow) {
    rung.free = next_free(r);
    --rung.free_count;
  } else {
    const std::uint32_t slab = rung.room.back();
    r = (slab << shift_) + slabs_[slab].used++;
    --rung.unused;
    if (slabs_[slab].used == slab_rows()) rung.room.pop_back();
  }
  set_key(r, key);
  set_metadata(r, 0, 0);
  ++size_;
  return r;
}

void RowStore::give_back(std::uint32_t r) noexcept {
  Rung& rung = rungs_[slabs_[r >> shift_].rung];
  set_key(r, rung.free);
  rung.free = r;
  ++rung.free_count;
  --size_;
}

void RowStore::reach(const std::uint32_t* rows, std::size_t count) const {
  Array<const unsigned char*> places;
  places.reserve(count);
  for (std::size_t i = 0; i < count; ++i) places.push_back(record(rows[i]));
  memory_->reach(places.data(), places.size(), head_bytes_ + rungs_.back().row_bytes);
}

std::size_t RowStore::bytes() const noexcept {
  std::size_t total = slabs_.capacity() * sizeof(Slab) + touched_.capacity() * sizeof(touched_[0]);
  for (const Slab& slab : slabs_) total += std::size_t{slab.used} * slab.record_bytes;
  return total;
}

}  // namespace springtide
