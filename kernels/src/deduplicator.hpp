// Numbers distinct keys by their first occurrence; knows no batch and no table.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>

#include "memory.hpp"

namespace springtide {

class Deduplicator {
  // 16 bytes, so that the entries of a usual column fit the second cache.
  struct Entry {
    std::int64_t key;
    std::uint32_t stamp;
    std::uint32_t number;
  };

 public:
  // One pass over keys, held in registers.
  class Pass {
   public:
    // The number that `key` got before, or else `next`, which it has from now on.
    std::uint32_t number(std::int64_t key, std::uint64_t hash, std::uint32_t next) const noexcept {
      // Bits that neither the shard, the bucket nor the tag uses much.
      for (std::size_t at = hash >> 20 & mask_;; at = (at + 1) & mask_) {
        Entry& entry = entries_[at];
        if (entry.stamp != stamp_) {
          entry = Entry{key, stamp_, next};
          return next;
        }
        if (entry.key == key) return entry.number;
      }
    }

   private:
    friend Deduplicator;
    Pass(Entry* entries, std::size_t mask, std::uint32_t stamp) noexcept : entries_(entries), mask_(mask), stamp_(stamp) {}
    Entry* entries_;
    std::size_t mask_;
    std::uint32_t stamp_;
  };

  // Forgets every key and makes room for `occurrences`; throws std::bad_alloc.
  Pass start(std::size_t occurrences) {
    std::size_t size = 64;
    while (size < 2 * occurrences) size *= 2;
    if (entries_.size() < size || ++stamp_ == 0) {
      entries_.assign(std::max(size, entries_.size()), Entry{0, 0, 0});
      stamp_ = 1;
    }
    return Pass(entries_.data(), entries_.size() - 1, stamp_);
  }

 private:
  Array<Entry> entries_;
  std::uint32_t stamp_ = 0;
};

}  // namespace springtide
