// Rows found by key, and which of them changed since the last capture; knows no values, no optimizer and no batch.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "bucket_index.hpp"
#include "memory.hpp"
#include "row_store.hpp"

namespace springtide {

class KeyedRows {
 public:
  KeyedRows(const Array<std::size_t>& row_bytes, bool metadata) : store(row_bytes, metadata), index(store) {}

  RowStore store;
  BucketIndex index;

  std::uint32_t find(std::int64_t key) const noexcept { return index.find(hash_key(key), key); }
  // Calls visit(i, row number of keys[i] or kNoRow) for all i in turn, the first `bytes` of each row asked for some time
  // before; hashes[i] = hash_key(keys[i]).
  template <class Visit>
  void find_each(const std::int64_t* keys, const std::uint64_t* hashes, std::size_t count, std::size_t bytes,
                 Visit visit) const {
    constexpr std::size_t kBucketAhead = 32;  // a power of two
    constexpr std::size_t kRowAhead = 16;
    const Bucket* buckets[kBucketAhead];
    std::uint32_t likely[kBucketAhead];
    for (std::size_t i = 0; i < count + kBucketAhead; ++i) {
      if (i >= kBucketAhead) {
        const std::size_t at = i - kBucketAhead;
        visit(at, index.find(hashes[at], keys[at], likely[at % kBucketAhead]));
      }
      if (i < count) {
        buckets[i % kBucketAhead] = index.home_bucket(hashes[i]);
        __builtin_prefetch(buckets[i % kBucketAhead]);
      }
      if (i < kRowAhead || i - kRowAhead >= count) continue;
      const std::size_t at = i - kRowAhead;
      const std::uint32_t row = BucketIndex::likely(*buckets[at % kBucketAhead], hashes[at]);
      likely[at % kBucketAhead] = row;
      if (row != kNoRow) store.prefetch(row, bytes);
    }
  }

  // Where rows may be far away: brings near those that keys with these hashes are likely to have. Throws std::bad_alloc.
  void reach(const std::uint64_t* hashes, std::size_t count) const;

  // Makes room for absent keys with these hashes; throws std::bad_alloc and changes nothing that can be seen.
  void reserve(unsigned rung, const std::uint64_t* hashes, std::size_t count) {
    store.reserve(rung, count);
    index.reserve(hashes, count);
  }
  // A row for an absent key, its bytes unwritten; room must be reserved.
  std::uint32_t take(unsigned rung, std::int64_t key, std::uint64_t hash) noexcept {
    const std::uint32_t r = store.take(rung, key);
    index.insert(hash, r);
    return r;
  }
  // The same for a row that is nobody's change, although the one that had its place before may have been.
  std::uint32_t take_unchanged(unsigned rung, std::int64_t key, std::uint64_t hash) noexcept {
    const std::uint32_t r = take(rung, key, hash);
    store.clear_touched(r);
    return r;
  }
  // A row of another size for the same key, its bytes unwritten, metadata and mark those of `r`; room must be reserved, for
  // the mark as well.
  std::uint32_t move(std::uint32_t r, std::uint64_t hash, unsigned rung) noexcept;
  void remove(std::uint32_t r, std::uint64_t hash) noexcept {
    // A touched row keeps its mark, so that the next key of a step in its place does not enter the list again.
    removed_ = true;
    index.erase(hash, r);
    store.give_back(r);
  }

  // Removes rows and notes their keys as erased, room for which must be reserved. Sorts `victims`: in which order a sweep comes
  // by is the index's own business, and must not decide which places become free first.
  void evict(std::uint32_t* victims, std::size_t count) noexcept;

  void reserve_touches(std::size_t count) { reserve_more(touched_, count); }
  void touch(std::uint32_t r) noexcept {
    if (store.mark_touched(r)) touched_.push_back(r);
  }
  void reserve_erased(std::size_t count) { reserve_more(erased_, count); }
  void note_erased(std::int64_t key) noexcept { erased_.push_back(key); }
  // Removes keys; those present become tombstones of the next capture. Returns how many were. Throws std::bad_alloc.
  std::size_t erase(const std::int64_t* keys, std::size_t count);

  // The rows touched since the last capture, in the order of first touch, and, ascending, the keys erased since then that
  // did not come back.
  struct Changes {
    Array<std::uint32_t> rows;
    Array<std::int64_t> tombstones;
  };
  Changes changes();
  void forget_changes() noexcept;
  // Marks keys as changed again; keys that are no longer here become tombstones.
  void mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                    std::size_t tombstone_count);

  std::size_t bytes() const noexcept {
    return store.bytes() + index.bytes() + touched_.capacity() * sizeof(touched_[0]) +
           erased_.capacity() * sizeof(erased_[0]);
  }

 private:
  Array<std::uint32_t> touched_;  // in order of first touch; may name rows erased since, or a row twice or in vain
  Array<std::int64_t> erased_;    // may repeat, may name keys that came back
  bool removed_ = false;          // whether touched_ may name more than the live rows that bear a mark, each once
};

}  // namespace springtide
