// One embedding table: rows by key, with initial rows, updates, touched marks and tombstones; knows no batch and no file.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

#include "bucket_index.hpp"
#include "initializer.hpp"
#include "memory.hpp"
#include "optimizer.hpp"
#include "row_store.hpp"

namespace springtide {

struct TableSettings {
  std::string name;
  std::size_t dim;
  std::uint64_t seed;
  InitializerSettings initializer;
  OptimizerSettings optimizer;
};

// Rows outside a table, one array per part.
struct RowBlock {
  Array<std::int64_t> keys;         // [n]
  Array<float> values;              // [n, dim]
  Array<float> slots;               // [n, slot_width]
  Array<std::uint32_t> frequency;   // [n]
  Array<std::int64_t> last_seen;    // [n], ms
  Array<std::int64_t> tombstones;   // [m]
};

// The same, borrowed from the caller; `slots`, `frequency` and `last_seen` may be null for a table that keeps none.
struct RowBlockView {
  const std::int64_t* keys;
  const float* values;
  const float* slots;
  const std::uint32_t* frequency;
  const std::int64_t* last_seen;
  std::size_t count;
  const std::int64_t* tombstones;
  std::size_t tombstone_count;
};

class Table {
 public:
  // A table that is not trainable has no slots and no metadata.
  Table(TableSettings settings, bool trainable);

  const std::string& name() const noexcept { return settings_.name; }
  std::size_t dim() const noexcept { return settings_.dim; }
  std::size_t slot_width() const noexcept { return slot_width_; }
  std::size_t size() const noexcept { return store_.size(); }
  std::size_t bytes() const noexcept;

  // rows[i] = row number of keys[i] or kNoRow; hashes[i] = hash_key(keys[i]).
  void find(const std::int64_t* keys, const std::uint64_t* hashes, std::size_t count, std::uint32_t* rows) const noexcept;
  float* row(std::uint32_t r) const noexcept { return store_.row(r); }
  void fill_initial_values(std::int64_t key, float* values) const noexcept { initializer_.fill(key, values, dim()); }

  // Makes room for absent keys with these hashes; throws std::bad_alloc and changes nothing that can be seen.
  void reserve(const std::uint64_t* hashes, std::size_t count);
  // A row for an absent key with its initial values and slots; room must be reserved.
  std::uint32_t create(std::int64_t key, std::uint64_t hash) noexcept;

  // Makes room for `count` more touched marks; throws std::bad_alloc.
  void reserve_touches(std::size_t count) { reserve_more(touched_, count); }
  // One optimizer step on distinct rows; counts[i] = occurrences. Room for the marks must be reserved.
  void update(const std::uint32_t* rows, float* const* addresses, const float* gradients, const std::uint32_t* counts,
              std::size_t count, std::int64_t event_ms) noexcept;

  // Copies the rows touched since the last capture, in the order of first touch, and the keys erased since then; commit
  // with forget_changes(). Time is proportional to what changed.
  RowBlock changes();
  void forget_changes() noexcept;
  // All rows by row number.
  RowBlock all() const;
  // Marks keys as changed again; keys that are no longer here become tombstones.
  void mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                    std::size_t tombstone_count);
  // Removes keys; those present become tombstones of the next capture. Returns how many were present.
  std::size_t erase(const std::int64_t* keys, std::size_t count);
  // Tombstones first, then rows; within `rows` the last of equal keys wins. Marks nothing as changed.
  void import(const RowBlockView& rows);

 private:
  std::uint32_t find_one(std::int64_t key) const noexcept { return index_.find(hash_key_of(key), key); }
  static std::uint64_t hash_key_of(std::int64_t key) noexcept;
  void remove(std::int64_t key, std::uint32_t row) noexcept;
  void allocate(RowBlock& block, std::size_t count) const;
  void copy_row(std::uint32_t row, RowBlock& to, std::size_t at) const noexcept;

  TableSettings settings_;
  bool trainable_;
  Optimizer optimizer_;
  Initializer initializer_;
  std::size_t slot_width_;
  RowStore store_;
  BucketIndex index_;
  Array<std::uint32_t> touched_;     // row numbers, in order of first touch; may name rows erased since
  Array<std::int64_t> erased_;       // may repeat, may name keys that came back
  bool removed_ = false;             // whether touched_ may name rows that are gone
};

}  // namespace springtide
