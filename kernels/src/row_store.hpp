// Rows of one table in slabs that never move, with key and metadata beside them; knows no hash and no optimizer.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

#include "memory.hpp"

namespace springtide {

constexpr std::uint32_t kNoRow = 0xffffffffU;

class RowStore {
 public:
  // `width` floats per row; without metadata, frequency and last-seen cost nothing and read as 0.
  RowStore(std::size_t width, bool metadata);
  ~RowStore();
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  float* row(std::uint32_t r) const noexcept { return slabs_[r >> shift_].rows + (r & mask_) * width_; }
  std::int64_t key(std::uint32_t r) const noexcept {
    std::int64_t key;
    std::memcpy(&key, record(r), sizeof key);
    return key;
  }
  const void* key_address(std::uint32_t r) const noexcept { return record(r); }
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
    std::uint64_t& word = slabs_[r >> shift_].touched[(r & mask_) >> 6];
    const std::uint64_t bit = std::uint64_t{1} << (r & 63);
    const bool fresh = (word & bit) == 0;
    word |= bit;
    return fresh;
  }
  void clear_touched(std::uint32_t r) noexcept {
    slabs_[r >> shift_].touched[(r & mask_) >> 6] &= ~(std::uint64_t{1} << (r & 63));
  }

  // Makes room for `extra` rows; throws std::bad_alloc and changes nothing that can be seen.
  void reserve(std::size_t extra);
  // A row for `key`, its floats unwritten and its metadata 0; room must be reserved.
  std::uint32_t take(std::int64_t key) noexcept;
  // Keeps the touched mark.
  void give_back(std::uint32_t r) noexcept;

  std::size_t size() const noexcept { return end_ - free_count_; }
  // Rows ever taken have numbers below this.
  std::uint32_t end() const noexcept { return end_; }
  // Calls visit(row) for every live row, by row number.
  template <class Visit>
  void each(Visit visit) const {
    Array<std::uint64_t> unused((end_ >> 6) + 1, 0);
    for (std::uint32_t r = free_; r != kNoRow; r = next_free(r)) unused[r >> 6] |= std::uint64_t{1} << (r & 63);
    for (std::uint32_t r = 0; r < end_; ++r)
      if ((unused[r >> 6] >> (r & 63) & 1) == 0) visit(r);
  }
  // Memory behind the rows in use; pages that were never written are not counted.
  std::size_t bytes() const noexcept;
  std::size_t width() const noexcept { return width_; }

 private:
  struct __attribute__((packed, aligned(4))) Metadata {
    std::int64_t key;
    std::int64_t last_seen;
    std::uint32_t frequency;
  };
  static_assert(sizeof(Metadata) == 20, "twelve bytes of metadata per row beside its key");
  struct Slab {
    float* rows;
    unsigned char* records;
    std::uint64_t* touched;
  };

  unsigned char* record(std::uint32_t r) const noexcept {
    return slabs_[r >> shift_].records + (r & mask_) * record_bytes_;
  }
  Metadata* meta(std::uint32_t r) const noexcept { return reinterpret_cast<Metadata*>(record(r)); }
  // A free row keeps the number of the next one in the place of its key: giving back never allocates.
  std::uint32_t next_free(std::uint32_t r) const noexcept { return static_cast<std::uint32_t>(key(r)); }
  void set_key(std::uint32_t r, std::int64_t key) noexcept { std::memcpy(record(r), &key, sizeof key); }

  std::size_t width_;
  bool metadata_;
  std::size_t record_bytes_;
  unsigned shift_;
  std::uint32_t mask_;
  std::size_t slab_bytes_;
  Array<Slab> slabs_;
  std::uint32_t end_ = 0;
  std::uint32_t free_ = kNoRow;
  std::uint32_t free_count_ = 0;
};

}  // namespace springtide
