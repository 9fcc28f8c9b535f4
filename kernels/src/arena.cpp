// SPDX-License-Identifier: Apache-2.0
#include "arena.hpp"

#include <algorithm>

namespace springtide {
namespace {

// A table that stays small keeps small pages; regions double from here.
constexpr std::size_t kFirstRegion = std::size_t{256} << 10;
constexpr std::size_t kLargestRegion = std::size_t{64} << 20;

}  // namespace

Arena::~Arena() {
  for (const Region& region : regions_) unmap_pages(region.memory, region.bytes);
}

unsigned char* Arena::take(std::size_t bytes) {
  bytes = rounded_up(bytes, kCacheLine);
  if (left_ < bytes) {
    reserve_more(regions_, 1);
    std::size_t size = regions_.empty() ? kFirstRegion : std::min(kLargestRegion, regions_.back().bytes * 2);
    const bool huge = size >= kHugePage || bytes >= kHugePage;
    size = rounded_up(std::max(size, bytes), huge ? kHugePage : 4096);
    regions_.push_back(Region{static_cast<unsigned char*>(map_pages(size, huge)), size});
    left_ = size;
  }
  const Region& region = regions_.back();
  unsigned char* piece = region.memory + (region.bytes - left_);
  left_ -= bytes;
  early_.note(region.memory, region.bytes, piece + bytes);
  return piece;
}

}  // namespace springtide
