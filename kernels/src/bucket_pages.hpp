// Buckets in numbered pages of one size inside huge pages, so that what one shard leaves fits every other; knows no key.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "early_pages.hpp"
#include "memory.hpp"

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

class BucketPages {
 public:
  static constexpr unsigned kShift = 6;
  static constexpr std::uint32_t kBuckets = 1U << kShift;

  BucketPages() = default;
  ~BucketPages();
  BucketPages(const BucketPages&) = delete;
  BucketPages& operator=(const BucketPages&) = delete;

  // Regions double, so that a page's number, from 1 on, tells its region.
  Bucket* page(std::uint32_t number) const noexcept {
    const unsigned region = region_of(number);
    return regions_[region] + (std::size_t{number - (1U << region)} << kShift);
  }
  // Makes room for taking `count` pages; throws std::bad_alloc.
  void reserve(std::size_t count);
  // Its buckets are empty.
  std::uint32_t take() noexcept;
  void give_back(std::uint32_t number) noexcept;
  void clear(std::uint32_t number) noexcept;
  std::size_t bytes() const noexcept { return (next_ - 1 - free_count_) * kBuckets * sizeof(Bucket); }

 private:
  static constexpr unsigned kRegions = 32;
  static unsigned region_of(std::uint32_t number) noexcept { return 31U - static_cast<unsigned>(__builtin_clz(number)); }

  Bucket* regions_[kRegions] = {};
  unsigned count_ = 0;       // regions there are
  std::uint32_t next_ = 1;   // the first number never taken
  std::uint32_t free_ = 0;   // given back; each holds the number of the next one
  std::size_t free_count_ = 0;
  EarlyPages early_;
};

}  // namespace springtide
