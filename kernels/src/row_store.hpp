// Rows of one table in slabs that never move, each behind its key and metadata; knows no hash and no optimizer.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "memory.hpp"
#include "slab_memory.hpp"

namespace springtide {

constexpr std::uint32_t kNoRow = 0xffffffffU;
constexpr std::size_t kMaxRungs = 4;

// What callers may rely on, whether rows stand in memory or behind a cache in front of a disk: a row number is valid from
// take() to give_back(); row() is valid until the next reserve(); everything that can fail, fails in reserve().
//
// A row has one of a few sizes, its rung: a table whose rows grow with their frequency keeps one free list per size.
class RowStore {
 public:
  // `row_bytes` per rung, multiples of 4; without metadata, frequency and last-seen cost nothing and read as 0.
  RowStore(const Array<std::size_t>& row_bytes, bool metadata);
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  unsigned char* row(std::uint32_t r) const noexcept {
    return record(r) + head_bytes_;
  }
  unsigned rung(std::uint32_t r) const noexcept { return slabs_[r >> shift_].rung; }
  std::int64_t key(std::uint32_t r) const noexcept {
    std::int64_t key;
    std::memcpy(&key, record(r), sizeof key);
    return key;
  }
  // Asks the memory for the key, the metadata and the first `bytes` of the row.
  SPRINGTIDE_PREFETCHES void prefetch(std::uint32_t r, std::size_t bytes) const noexcept {
    prefetch_lines(record(r), head_bytes_ + bytes);
  }
  std::int64_t last_seen(std::uint32_t r) const noexcept { return metadata_ ? meta(r)->last_seen : 0; }
  std::uint32_t frequency(std::uint32_t r) const noexcept { return metadata_ ? meta(r)->frequency : 0; }
  void set_metadata(std::uint32_t r, std::uint32_t frequency, std::int64_t last_seen) noexcept {
    if (!metadata_) return;
    meta(r)->frequency = frequency;
    meta(r)->last_seen = last_seen;
  }
  // Frequency saturates; last-seen never goes back when events arrive out of order.
  void see(std::uint32_t r, std::uint32_t times, std::int64_t event_ms) noexcept {
    Metadata* of = meta(r);
    const std::uint32_t sum = of->frequency + times;
    of->frequency = sum < times ? 0xffffffffU : sum;
    if (event_ms > of->last_seen) of->last_seen = event_ms;
  }

  // Returns whether the mark was new.
  bool mark_touched(std::uint32_t r) noexcept {
    std::uint64_t& word = touched_[r >> 6];
    const std::uint64_t bit = std::uint64_t{1} << (r & 63);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }
  bool touched(std::uint32_t r) const noexcept {
    return (touched_[r >> 6] >> (r & 63) & 1) != 0;
  }
  void clear_touched(std::uint32_t r) noexcept {
    touched_[r >> 6] &= ~(std::uint64_t{1} << (r & 63));
  }
  // At least of these rows, which are all that are marked.
  void clear_touched(const Array<std::uint32_t>& rows) noexcept {
    if (rows.size() > touched_.size()) {
      std::fill(touched_.begin(), touched_.end(), 0);
    } else {
      for (const std::uint32_t r : rows) clear_touched(r);
    }
  }

  // Makes room for `extra` rows of a rung; throws std::bad_alloc and changes nothing that can be seen.
  void reserve(unsigned rung, std::size_t extra);
  // A row for `key`, its bytes unwritten and its metadata 0; room must be reserved.
  std::uint32_t take(unsigned rung, std::int64_t key) noexcept;
  // Keeps the touched mark.
  void give_back(std::uint32_t r) noexcept;

  // Whether rows may be far away; then reach() is to be told which ones come next.
  bool tiered() const noexcept { return memory_->tiered(); }
  // Brings rows near, where it can. Throws std::bad_alloc.
  void reach(const std::uint32_t* rows, std::size_t count) const;

  std::size_t size() const noexcept { return size_; }
  // Calls visit(row) for every live row, by row number.
  template <class Visit>
  void each(Visit visit) const {
    Array<std::uint64_t> unused(slabs_.size() * (slab_rows() / 64), 0);
    for (const Rung& rung : rungs_)
      for (std::uint32_t r = rung.free; r != kNoRow; r = next_free(r)) unused[r >> 6] |= std::uint64_t{1} << (r & 63);
    for (std::size_t s = 0; s < slabs_.size(); ++s) {
      const auto begin = static_cast<std::uint32_t>(s << shift_);
      for (std::uint32_t r = begin; r < begin + slabs_[s].used; ++r)
        if ((unused[r >> 6] >> (r & 63) & 1) == 0) visit(r);
    }
  }
  // Memory behind the rows ever taken; pages that were never written are not counted.
  std::size_t bytes() const noexcept;

 private:
  struct __attribute__((packed, aligned(4))) Metadata {
    std::int64_t key;
    std::int64_t last_seen;
    std::uint32_t frequency;
  };
  static_assert(sizeof(Metadata) == 20, "twelve bytes of metadata per row beside its key");
  // A record is a row behind its head, the key and metadata: one place in memory, so that whoever finds the key has asked for
  // the row's page as well.
  struct Slab {
    unsigned char* records;
    std::uint32_t record_bytes;
    std::uint16_t used;  // rows ever taken
    std::uint16_t rung;
  };
  struct Rung {
    std::size_t row_bytes;
    Array<std::uint32_t> room;  // slabs with rows never taken, the next one last
    std::uint32_t free = kNoRow;
    std::size_t free_count = 0;  // given back
    std::size_t unused = 0;      // never taken
  };

  unsigned char* record(std::uint32_t r) const noexcept {
    const Slab& slab = slabs_[r >> shift_];
    return slab.records + (r & mask_) * std::size_t{slab.record_bytes};
  }
  Metadata* meta(std::uint32_t r) const noexcept { return reinterpret_cast<Metadata*>(record(r)); }
  // A free row keeps the number of the next one in the place of its key: giving back never allocates.
  std::uint32_t next_free(std::uint32_t r) const noexcept { return static_cast<std::uint32_t>(key(r)); }
  void set_key(std::uint32_t r, std::int64_t key) noexcept { std::memcpy(record(r), &key, sizeof key); }

  std::uint32_t slab_rows() const noexcept { return mask_ + 1; }

  bool metadata_;
  std::size_t head_bytes_;
  unsigned shift_;
  std::uint32_t mask_;
  std::unique_ptr<SlabMemory> memory_;
  Array<Slab> slabs_;
  Array<std::uint64_t> touched_;  // a bit per row: all of a table's marks on few pages
  std::vector<Rung> rungs_;
  std::size_t size_ = 0;
};

}  // namespace springtide
