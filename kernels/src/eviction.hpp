// Decides which rows leave a table, a bounded slice of it per step; knows no batch and takes nothing out itself.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "keyed_rows.hpp"
#include "memory.hpp"
#include "row_format.hpp"

namespace springtide {

enum class EvictionOrder { kLeastFrequent, kLeastRecent };

struct EvictionSettings {
  std::uint64_t step_ttl = 0;     // rows not updated for more steps go; 0 = never
  std::int64_t time_ttl_ms = 0;   // rows not seen for longer in event time go; 0 = never
  double half_norm = -1;          // rows with |w|^2 / 2 of at most this go; negative = never
  std::uint64_t max_rows = 0;     // beyond it the worst of a sample go; 0 = no limit
  EvictionOrder order = EvictionOrder::kLeastFrequent;
  std::uint32_t slice = 1024;     // rows looked at per step

  bool sweeps() const noexcept { return step_ttl != 0 || time_ttl_ms != 0 || half_norm >= 0; }
};

// Slices are ranges of the lower 32 bits of the key's hash: which rows are in one depends on keys alone, so that a table
// that was exported and imported goes on exactly as it would have.
class Sweep {
 public:
  struct Slice {
    std::uint32_t first = 0;
    std::uint32_t last = 0;
    std::uint64_t size = 0;  // that it was made for
  };
  // The slice at the cursor that holds about `wanted` of `size` rows; the last one of a round is cut at the end. Within a
  // round the size does not shrink: what was swept is thinner than what was not.
  Slice slice(std::uint64_t wanted, std::uint64_t size) const noexcept;
  void pass(const Slice& slice) noexcept {
    cursor = slice.last + 1;
    rows = slice.size;
  }

  std::uint32_t cursor = 0;
  std::uint64_t rows = 0;  // the size at the last slice
};

// What one step will look at; planned before anything changes, as it allocates.
struct EvictionPlan {
  bool sweeps = false;
  bool overflows = false;
  Sweep::Slice slice{};
  Sweep::Slice sample{};
  Sweep::Slice counts{};  // of the keys that admission counts
  std::size_t excess = 0;
};

class Eviction {
 public:
  explicit Eviction(EvictionSettings settings) : settings_(settings) {}

  const EvictionSettings& settings() const noexcept { return settings_; }
  // Event times before this are too old, given the newest one.
  std::int64_t oldest(std::int64_t clock_ms) const noexcept {
    std::int64_t time;
    return __builtin_sub_overflow(clock_ms, settings_.time_ttl_ms, &time) ? INT64_MIN : time;
  }
  // Makes room for this step's evictions after `created` more rows; throws std::bad_alloc.
  EvictionPlan plan(KeyedRows& rows, std::size_t created);
  // Puts the rows to take out into `victims()`; calls half_norm(row) where the settings ask for it.
  template <class HalfNorm>
  std::size_t choose_expired(const KeyedRows& rows, const RowFormat& format, const EvictionPlan& plan, std::uint64_t step,
                             std::int64_t clock_ms, HalfNorm half_norm) noexcept;
  std::size_t choose_worst(const KeyedRows& rows, const EvictionPlan& plan, std::size_t count) noexcept;
  std::uint32_t* victims() noexcept { return victims_.data(); }
  void pass(const EvictionPlan& plan) noexcept {
    if (plan.sweeps) sweep.pass(plan.slice);
    if (plan.overflows) sample.pass(plan.sample);
  }

  Sweep sweep;   // over rows that may be too old or too small
  Sweep sample;  // over rows that may have to make room

 private:
  struct Candidate {
    std::int64_t first;   // the lesser, the worse
    std::int64_t second;
    std::uint64_t hash;   // a tie is decided by the key alone
    std::uint32_t row;
  };

  EvictionSettings settings_;
  Array<std::uint32_t> victims_;
  Array<Candidate> candidates_;
};

template <class HalfNorm>
std::size_t Eviction::choose_expired(const KeyedRows& rows, const RowFormat& format, const EvictionPlan& plan,
                                     std::uint64_t step, std::int64_t clock_ms, HalfNorm half_norm) noexcept {
  std::size_t count = 0;
  rows.index.each_in(plan.slice.first, plan.slice.last, [&](std::uint32_t r, std::uint64_t) {
    const bool late = settings_.time_ttl_ms != 0 && rows.store.last_seen(r) < oldest(clock_ms);
    // The stamp counts modulo 2^32; a sweep comes by long before it could come round.
    const bool stale = settings_.step_ttl != 0 && static_cast<std::uint32_t>(step) - format.stamp(rows.store.row(r), rows.store.rung(r)) >
                                                      settings_.step_ttl;
    if (late || stale || (settings_.half_norm >= 0 && half_norm(r) <= settings_.half_norm)) victims_[count++] = r;
  });
  return count;
}

}  // namespace springtide
