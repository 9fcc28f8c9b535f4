// SPDX-License-Identifier: Apache-2.0
#include "row_store.hpp"

#include <algorithm>

namespace springtide {
namespace {

// About the size of a huge page: large enough to be cheap to map, small enough to be no memory spike.
constexpr std::size_t kSlabBytes = std::size_t{2} << 20;
constexpr unsigned kSmallestSlabShift = 6;  // one word of touched marks
constexpr unsigned kLargestSlabShift = 15;

std::size_t lines(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

unsigned slab_shift(std::size_t row_bytes) {
  unsigned shift = kSmallestSlabShift;
  while (shift < kLargestSlabShift && (row_bytes << (shift + 1)) <= kSlabBytes) ++shift;
  return shift;
}

}  // namespace

RowStore::RowStore(std::size_t width, bool metadata)
    : width_(width),
      metadata_(metadata),
      record_bytes_(metadata ? sizeof(Metadata) : sizeof(std::int64_t)),
      shift_(slab_shift(width * sizeof(float))),
      mask_((1U << shift_) - 1U) {
  const std::size_t rows = std::size_t{1} << shift_;
  slab_bytes_ = lines(rows * width_ * sizeof(float)) + lines(rows * record_bytes_) + lines(rows / 8);
}

RowStore::~RowStore() {
  for (const Slab& slab : slabs_) unmap_pages(slab.rows, slab_bytes_);
}

void RowStore::reserve(std::size_t extra) {
  if (extra <= free_count_) return;
  const std::size_t needed = end_ + (extra - free_count_);
  if (needed >= kNoRow) throw std::bad_alloc();
  const std::size_t rows = std::size_t{1} << shift_;
  const std::size_t wanted = (needed + rows - 1) >> shift_;
  if (wanted <= slabs_.size()) return;
  reserve_more(slabs_, wanted - slabs_.size());
  while (slabs_.size() < wanted) {
    // A table that stays small keeps small pages.
    auto* memory = static_cast<unsigned char*>(map_pages(slab_bytes_, !slabs_.empty()));
    unsigned char* records = memory + lines(rows * width_ * sizeof(float));
    unsigned char* touched = records + lines(rows * record_bytes_);
    slabs_.push_back(Slab{reinterpret_cast<float*>(memory), records, reinterpret_cast<std::uint64_t*>(touched)});
  }
}

std::uint32_t RowStore::take(std::int64_t key) noexcept {
  std::uint32_t r = free_;
  if (r != kNoRow) {
    free_ = next_free(r);
    --free_count_;
  } else {
    r = end_++;
  }
  set_key(r, key);
  set_metadata(r, 0, 0);
  return r;
}

void RowStore::give_back(std::uint32_t r) noexcept {
  set_key(r, free_);
  free_ = r;
  ++free_count_;
}

std::size_t RowStore::bytes() const noexcept {
  const std::size_t per_row = width_ * sizeof(float) + record_bytes_;
  return end_ * per_row + end_ / 8 + slabs_.capacity() * sizeof(Slab);
}

}  // namespace springtide
