// SPDX-License-Identifier: Apache-2.0
#include "bucket_pages.hpp"

#include <cstring>
#include <new>

namespace springtide {
namespace {

constexpr std::size_t kPageBytes = BucketPages::kBuckets * sizeof(Bucket);

}  // namespace

BucketPages::~BucketPages() {
  for (unsigned region = 0; region < count_; ++region) unmap_pages(regions_[region], kPageBytes << region);
}

void BucketPages::reserve(std::size_t count) {
  if (count <= free_count_) return;
  const std::size_t last = next_ + (count - free_count_) - 1;
  while (last >> count_ != 0) {
    if (count_ == kRegions) throw std::bad_alloc();
    const std::size_t bytes = kPageBytes << count_;
    regions_[count_] = static_cast<Bucket*>(map_pages(bytes, bytes >= kHugePage));
    ++count_;
  }
  const unsigned region = region_of(static_cast<std::uint32_t>(last));
  early_.note(reinterpret_cast<unsigned char*>(regions_[region]), kPageBytes << region,
              reinterpret_cast<const unsigned char*>(page(static_cast<std::uint32_t>(last)) + kBuckets));
}

std::uint32_t BucketPages::take() noexcept {
  if (free_ == 0) return next_++;
  const std::uint32_t number = free_;
  free_ = page(number)->overflow;
  --free_count_;
  clear(number);
  return number;
}

void BucketPages::clear(std::uint32_t number) noexcept { std::memset(static_cast<void*>(page(number)), 0, kPageBytes); }

void BucketPages::give_back(std::uint32_t number) noexcept {
  page(number)->overflow = free_;
  free_ = number;
  ++free_count_;
}

}  // namespace springtide
