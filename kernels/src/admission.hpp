// Decides which keys get a row, by how often they came; knows no row and no value. Formulas: kernels/ADMISSION.md.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "keyed_rows.hpp"
#include "memory.hpp"

namespace springtide {

enum class AdmissionKind { kAlways, kCounter, kBloom, kProbability };

struct AdmissionSettings {
  AdmissionKind kind = AdmissionKind::kAlways;
  std::uint32_t occurrences = 1;  // counter and bloom: admitted from this one on
  std::uint64_t blocks = 1;       // bloom: of kFilterBlock counters
  std::uint32_t hashes = 1;       // bloom: counters per key
  std::int64_t period_ms = 0;     // bloom: counters halve once per period of event time; 0 = never
  double probability = 1;         // per occurrence
  float not_admitted = 0;         // what a refused key reads as
};

// Counters of one filter block: a cache line.
constexpr std::size_t kFilterBlock = 64;

// State that is kept per key (counter: key -> occurrences) or per block (bloom: number -> counters), one array per part.
struct AdmissionBlock {
  Array<std::int64_t> keys;          // [n]
  Array<std::uint8_t> counters;      // [n, width]
  Array<std::uint32_t> occurrences;  // [n], 0 = a tombstone; those come first
  Array<std::int64_t> last_seen;     // [n]: counter: newest event time in ms; bloom: the period that the counters belong to
};

struct AdmissionBlockView {
  const std::int64_t* keys;
  const std::uint8_t* counters;
  const std::uint32_t* occurrences;  // 0 = a tombstone
  const std::int64_t* last_seen;
  std::size_t count;
};

class Admission {
 public:
  Admission(AdmissionSettings settings, std::uint64_t seed, const std::string& table);

  bool always() const noexcept { return settings_.kind == AdmissionKind::kAlways; }
  const AdmissionSettings& settings() const noexcept { return settings_; }
  // Whether an absent key is admitted now that it comes `occurrences` times in one batch; changes nothing.
  bool admits(std::int64_t key, std::uint64_t hash, std::uint32_t occurrences, std::uint64_t step,
              std::int64_t clock_ms) const noexcept;

  // Makes room to count `count` refused and to forget `admitted` keys; throws std::bad_alloc.
  void reserve(const std::int64_t* keys, const std::uint64_t* hashes, std::size_t count, std::size_t admitted);
  // Remembers a refused key's occurrences; the clock is that of the step, its own events included. Room must be reserved.
  void count(std::int64_t key, std::uint64_t hash, std::uint32_t occurrences, std::int64_t clock_ms,
             std::int64_t event_ms) noexcept;
  // The key has a row now, and counts from nothing should it lose that. Room must be reserved.
  void forget(std::int64_t key, std::uint64_t hash) noexcept;

  // Counted keys in the slice [first, last] of the sweep order whose newest event lies before `oldest_ms` are forgotten.
  std::size_t count_in(std::uint32_t first, std::uint32_t last) const noexcept;
  // After reserve() of the same step: makes room to forget `count` more; throws std::bad_alloc.
  void reserve_expiry(std::size_t count);
  void expire(std::uint32_t first, std::uint32_t last, std::int64_t oldest_ms) noexcept;

  AdmissionBlock changes();
  void forget_changes() noexcept;
  AdmissionBlock all() const;
  void mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones, std::size_t tombstone_count);
  // Makes room for import() of the same entries; throws std::bad_alloc and changes nothing that can be seen.
  void reserve_import(const AdmissionBlockView& block);
  // Later entries win; marks nothing as changed.
  void import(const AdmissionBlockView& block) noexcept;

  std::size_t counter_width() const noexcept { return settings_.kind == AdmissionKind::kBloom ? kFilterBlock : 0; }
  std::size_t size() const noexcept { return rows_ == nullptr ? 0 : rows_->store.size(); }
  std::size_t bytes() const noexcept { return rows_ == nullptr ? 0 : rows_->bytes(); }

 private:
  std::int64_t block_of(std::uint64_t mixed) const noexcept;
  std::int64_t period(std::int64_t clock_ms) const noexcept;
  AdmissionBlock copy(const Array<std::uint32_t>& rows, const Array<std::int64_t>& tombstones) const;

  AdmissionSettings settings_;
  std::uint64_t stream_;
  std::unique_ptr<KeyedRows> rows_;  // null where nothing is remembered
  Array<std::uint64_t> missing_;
  Array<std::uint32_t> expired_;
  std::size_t admitted_ = 0;  // that this step's reserve() made room for
};

}  // namespace springtide
