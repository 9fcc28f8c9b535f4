// One embedding table: rows by key, admitted, initialised, updated, grown and evicted; knows no batch and no file.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "admission.hpp"
#include "eviction.hpp"
#include "initializer.hpp"
#include "keyed_rows.hpp"
#include "memory.hpp"
#include "optimizer.hpp"
#include "row_format.hpp"

namespace springtide {

struct TableSettings {
  std::string name;
  std::vector<std::size_t> dims;         // ascending; more than one: a row has more coordinates the more often it came
  std::vector<std::uint32_t> thresholds; // [dims - 1], ascending: the frequency from which a row has the next dims
  std::uint64_t seed;
  Precision precision;
  InitializerSettings initializer;
  OptimizerSettings optimizer;
  AdmissionSettings admission;
  EvictionSettings eviction;
};

// Rows outside a table, one array per part.
struct RowBlock {
  Array<std::int64_t> keys;         // [n]
  Array<float> values;              // [n, dim]
  Array<float> slots;               // [n, slot_width]
  Array<std::uint32_t> frequency;   // [n]
  Array<std::int64_t> last_seen;    // [n], ms
  Array<std::int64_t> tombstones;   // [m]
  AdmissionBlock admission;
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

// How many steps there were before this one, and the newest event time of them.
struct StepTime {
  std::uint64_t step = 0;
  std::int64_t clock_ms = INT64_MIN;
};

// The unique keys of a batch, and what one step does with them.
struct UniqueKeys {
  Array<std::int64_t> keys;
  Array<std::uint64_t> hashes;
  Array<std::uint32_t> counts;  // occurrences
  std::size_t count = 0;

  Array<std::uint32_t> rows;     // row number or kNoRow
  Array<float> values;           // [count, dim]
  Array<float> sums;             // [count, dim], the gradient
  Array<std::uint32_t> created;  // positions of keys that this step gives a row
  Array<std::uint32_t> refused;  // positions of keys that are not admitted yet

  // Of update() alone.
  Array<std::uint64_t> hashes_of_created;
  Array<std::int64_t> keys_of_refused;
  Array<std::uint64_t> hashes_of_refused;
  EvictionPlan eviction;
};

class Table {
 public:
  // A table that is not trainable has no slots, no metadata, no admission and no eviction.
  Table(TableSettings settings, bool trainable);

  const std::string& name() const noexcept { return settings_.name; }
  std::size_t dim() const noexcept { return format_.dim(); }
  Precision precision() const noexcept { return format_.precision; }
  std::size_t slot_width() const noexcept { return trainable_ ? format_.slot_width() : 0; }
  std::size_t counter_width() const noexcept { return admission_.counter_width(); }
  std::size_t size() const noexcept { return rows_.store.size(); }
  std::size_t bytes() const noexcept;

  // Finds the rows of a batch and reads their values; an absent key reads as the row that it would begin with or, where it is
  // not admitted, as the value for that. `now` is null where nobody learns, and then no key is admitted that must be.
  // Changes nothing. Throws std::bad_alloc.
  void read(UniqueKeys& unique, const StepTime* now) const;
  // The two halves of read() for rows that are kept elsewhere: room for what it finds, and the values [dim] of a key without a
  // row where nobody learns; false where that key would have to be admitted.
  void prepare_to_read(UniqueKeys& unique) const;
  bool read_new(std::int64_t key, float* values) const noexcept;

  // Makes room for update(); throws std::bad_alloc and changes nothing that can be seen.
  void reserve_update(UniqueKeys& unique);
  // The one change of a step: creates, counts, updates, grows, evicts. Room must be reserved, and nothing have changed since
  // read().
  void update(UniqueKeys& unique, const StepTime& now, std::int64_t event_ms) noexcept;

  // The rows touched since the last capture, in the order of first touch, and the keys erased since then; commit with
  // forget_changes(). Time is proportional to what changed.
  struct Copy {
    Array<std::uint32_t> rows;
    RowBlock block;  // room for the rows; copy() fills it
  };
  Copy changes();
  // Fills rows [begin, end) of the block; several threads may fill parts of one.
  void copy(Copy& changed, std::size_t begin, std::size_t end) const noexcept;
  void forget_changes() noexcept;
  RowBlock all() const;
  // Marks keys as changed again; keys that are no longer here become tombstones.
  void mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones, std::size_t tombstone_count) {
    rows_.mark_changed(keys, count, tombstones, tombstone_count);
  }
  // Removes keys; those present become tombstones of the next capture. Returns how many were present.
  std::size_t erase(const std::int64_t* keys, std::size_t count) { return rows_.erase(keys, count); }
  // Tombstones first, then rows; within `rows` the last of equal keys wins. Marks nothing as changed.
  void import(const RowBlockView& rows);

  Admission& admission() noexcept { return admission_; }
  std::array<Sweep*, 3> sweeps() noexcept { return {&eviction_.sweep, &eviction_.sample, &counts_sweep_}; }

 private:
  template <std::size_t kDim>
  void read_rows(UniqueKeys& unique, const StepTime* now) const;
  void read_absent(UniqueKeys& unique, std::size_t at, const StepTime* now) const;
  void fill_new(std::int64_t key, bool admitted, float* values) const noexcept;
  void fill_initial_values(std::int64_t key, float* values, std::size_t begin, std::size_t end) const noexcept;
  void create(UniqueKeys& unique) noexcept;
  void update_plain(UniqueKeys& unique, std::uint64_t step, std::int64_t event_ms) noexcept;
  void update_formatted(UniqueKeys& unique, std::uint64_t step, std::int64_t event_ms) noexcept;
  void note_update(std::uint32_t r, std::uint32_t times, std::uint64_t step, std::int64_t event_ms) noexcept;
  void promote(UniqueKeys& unique) noexcept;
  void evict(const EvictionPlan& plan, std::uint64_t step, std::int64_t clock_ms) noexcept;
  double half_norm(std::uint32_t r) const noexcept;
  unsigned rung_for(std::uint32_t frequency) const noexcept;
  unsigned imported_rung(const RowBlockView& rows, std::size_t at) const noexcept;
  RowBlock room_for(std::size_t count) const;

  TableSettings settings_;
  bool trainable_;
  Optimizer optimizer_;
  RowFormat format_;
  Initializer initializer_;
  std::uint64_t rounding_stream_;
  Admission admission_;
  Eviction eviction_;
  Sweep counts_sweep_;  // over the keys that admission counts
  KeyedRows rows_;
  Array<float> scratch_;  // update_formatted: a few rows and their gradients
  Array<float*> scratch_rows_;
};

}  // namespace springtide
