// The changing half of a table: what one step does to its rows. The reading half is table.cpp.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "table.hpp"

namespace springtide {
namespace {

constexpr std::size_t kTogether = 32;  // rows that the optimizer gets at once
constexpr std::size_t kAhead = 24;     // rows that memory is asked for before they are needed

std::uint32_t saturated(std::uint32_t a, std::uint32_t b) { return a + b < a ? 0xffffffffU : a + b; }

}  // namespace

void Table::reserve_update(UniqueKeys& unique) {
  const std::size_t created = unique.created.size();
  const std::size_t refused = unique.refused.size();
  ensure(unique.hashes_of_created, created);
  for (std::size_t i = 0; i < created; ++i) unique.hashes_of_created[i] = unique.hashes[unique.created[i]];
  rows_.reserve(0, unique.hashes_of_created.data(), created);
  std::size_t grown[kMaxRungs] = {created};
  std::size_t moves = 0;
  if (!settings_.thresholds.empty()) {
    for (const std::uint32_t i : unique.created) {
      const unsigned rung = rung_for(unique.counts[i]);
      if (rung != 0) ++grown[rung], ++moves;
    }
    for (std::size_t i = 0; i < unique.count; ++i) {
      const std::uint32_t r = unique.rows[i];
      if (r == kNoRow) continue;
      const unsigned rung = rung_for(saturated(rows_.store.frequency(r), unique.counts[i]));
      if (rung != rows_.store.rung(r)) ++grown[rung], ++moves;
    }
    for (unsigned rung = 1; rung < format_.dims.size(); ++rung) rows_.store.reserve(rung, grown[rung]);
  }
  rows_.reserve_touches(unique.count + moves);
  if (!format_.plain()) {
    ensure(scratch_, kTogether * (2 * dim() + format_.slot_width()));
    ensure(scratch_rows_, kTogether);
  }
  if (!admission_.always()) {
    ensure(unique.keys_of_refused, refused);
    ensure(unique.hashes_of_refused, refused);
    for (std::size_t i = 0; i < refused; ++i) {
      unique.keys_of_refused[i] = unique.keys[unique.refused[i]];
      unique.hashes_of_refused[i] = unique.hashes[unique.refused[i]];
    }
    admission_.reserve(unique.keys_of_refused.data(), unique.hashes_of_refused.data(), refused, created);
  }
  unique.eviction = eviction_.plan(rows_, created);
  if (eviction_.settings().time_ttl_ms != 0) {
    const Sweep::Slice slice = counts_sweep_.slice(eviction_.settings().slice, admission_.size() + refused);
    admission_.reserve_expiry(admission_.count_in(slice.first, slice.last) + refused);
    unique.eviction.counts = slice;
  }
}

void Table::create(UniqueKeys& unique) noexcept {
  for (const std::uint32_t i : unique.created) {
    const std::uint32_t r = rows_.take(0, unique.keys[i], unique.hashes[i]);
    unsigned char* row = rows_.store.row(r);
    format_.write_values(row, 0, unique.values.data() + i * dim());
    optimizer_.fill_initial_slots(reinterpret_cast<float*>(row + format_.value_part(0)), unique.values.data() + i * dim(),
                                  format_.dims[0]);
    admission_.forget(unique.keys[i], unique.hashes[i]);
    unique.rows[i] = r;
  }
}

// What every update leaves beside the values.
void Table::note_update(std::uint32_t r, std::uint32_t times, std::uint64_t step, std::int64_t event_ms) noexcept {
  RowStore& store = rows_.store;
  store.see(r, times, event_ms);
  if (format_.stamped) format_.set_stamp(store.row(r), store.rung(r), static_cast<std::uint32_t>(step + 1));
  rows_.touch(r);
}

void Table::update_plain(UniqueKeys& unique, std::uint64_t step, std::int64_t event_ms) noexcept {
  const RowStore& store = rows_.store;
  std::size_t live = unique.count;
  if (!unique.refused.empty()) {
    // Refused keys learn nothing: the others move together.
    live = 0;
    for (std::size_t i = 0; i < unique.count; ++i) {
      if (unique.rows[i] == kNoRow) continue;
      if (live != i) {
        std::copy_n(unique.sums.data() + i * dim(), dim(), unique.sums.data() + live * dim());
        unique.rows[live] = unique.rows[i];
        unique.counts[live] = unique.counts[i];
      }
      ++live;
    }
  }
  const UpdateSettings with = optimizer_.settings_at(step, dim());
  const std::uint32_t* rows = unique.rows.data();
  const std::size_t row_bytes = format_.row_bytes(0);
  float* addresses[kTogether];
  for (std::size_t i = 0; i < live && i < kAhead; ++i) store.prefetch(rows[i], row_bytes);
  for (std::size_t begin = 0; begin < live; begin += kTogether) {
    const std::size_t count = std::min(kTogether, live - begin);
    for (std::size_t i = begin; i < begin + count; ++i) {
      if (i + kAhead < live) store.prefetch(rows[i + kAhead], row_bytes);
      note_update(rows[i], unique.counts[i], step, event_ms);
      addresses[i - begin] = reinterpret_cast<float*>(store.row(rows[i]));
    }
    optimizer_.update(addresses, unique.sums.data() + begin * dim(), count, dim(), with);
  }
}

// Rows that are not plain floats are updated as such in scratch space and written back: one set of rules serves all.
void Table::update_formatted(UniqueKeys& unique, std::uint64_t step, std::int64_t event_ms) noexcept {
  RowStore& store = rows_.store;
  std::uint32_t batch[kTogether];
  for (unsigned rung = 0; rung < format_.dims.size(); ++rung) {
    const std::size_t own = format_.dims[rung];
    const std::size_t state = format_.state_width(rung);
    const std::size_t value_part = format_.value_part(rung);
    const UpdateSettings with = optimizer_.settings_at(step, own);
    float* gradients = scratch_.data() + kTogether * (own + state);
    std::size_t waiting = 0;
    const auto flush = [&] {
      optimizer_.update(scratch_rows_.data(), gradients, waiting, own, with);
      for (std::size_t j = 0; j < waiting; ++j) {
        unsigned char* row = store.row(batch[j]);
        const float* updated = scratch_rows_[j];
        if (format_.precision == Precision::kFloat32) {
          std::memcpy(row, updated, own * sizeof(float));
        } else {
          // Every update adds to the frequency, which therefore counts the row's steps well enough to draw by.
          narrow_by_chance(updated, own, format_.precision,
                           rounding_start(rounding_stream_, store.key(batch[j]), store.frequency(batch[j])),
                           reinterpret_cast<std::uint16_t*>(row));
        }
        std::memcpy(row + value_part, updated + own, state * sizeof(float));
      }
      waiting = 0;
    };
    for (std::size_t i = 0; i < unique.count; ++i) {
      const std::uint32_t r = unique.rows[i];
      if (r == kNoRow || store.rung(r) != rung) continue;
      float* to = scratch_.data() + waiting * (own + state);
      format_.read_values(store.row(r), rung, to);
      std::memcpy(to + own, store.row(r) + value_part, state * sizeof(float));
      std::memcpy(gradients + waiting * own, unique.sums.data() + i * dim(), own * sizeof(float));
      scratch_rows_[waiting] = to;
      batch[waiting++] = r;
      if (waiting == kTogether) flush();
    }
    if (waiting != 0) flush();
  }
  for (std::size_t i = 0; i < unique.count; ++i)
    if (unique.rows[i] != kNoRow) note_update(unique.rows[i], unique.counts[i], step, event_ms);
}

void Table::promote(UniqueKeys& unique) noexcept {
  RowStore& store = rows_.store;
  for (std::size_t i = 0; i < unique.count; ++i) {
    const std::uint32_t r = unique.rows[i];
    if (r == kNoRow) continue;
    const unsigned from = store.rung(r);
    const unsigned to = rung_for(store.frequency(r));
    if (to == from) continue;
    const unsigned char* old = store.row(r);
    float* row = scratch_.data();
    format_.read_values(old, from, row);
    std::memcpy(row + format_.dims[from], old + format_.value_part(from), format_.state_width(from) * sizeof(float));
    float* initial = row + dim() + format_.slot_width();
    fill_initial_values(unique.keys[i], initial, format_.dims[from], format_.dims[to]);
    optimizer_.widen(row, initial + format_.dims[from], format_.dims[from], format_.dims[to]);
    const std::uint32_t step = format_.stamped ? format_.stamp(old, from) : 0;
    const std::uint32_t moved = rows_.move(r, unique.hashes[i], to);
    unsigned char* place = store.row(moved);
    format_.write_values(place, to, row);
    std::memcpy(place + format_.value_part(to), row + format_.dims[to], format_.state_width(to) * sizeof(float));
    if (format_.stamped) format_.set_stamp(place, to, step);
    unique.rows[i] = moved;
  }
}

void Table::evict(const EvictionPlan& plan, std::uint64_t step, std::int64_t clock_ms) noexcept {
  if (plan.sweeps) {
    const auto norm = [&](std::uint32_t r) { return half_norm(r); };
    rows_.evict(eviction_.victims(), eviction_.choose_expired(rows_, format_, plan, step, clock_ms, norm));
  }
  if (plan.overflows && size() > eviction_.settings().max_rows) {
    const std::size_t excess = size() - static_cast<std::size_t>(eviction_.settings().max_rows);
    rows_.evict(eviction_.victims(), eviction_.choose_worst(rows_, plan, excess));
  }
  eviction_.pass(plan);
  if (eviction_.settings().time_ttl_ms != 0) {
    admission_.expire(plan.counts.first, plan.counts.last, eviction_.oldest(clock_ms));
    counts_sweep_.pass(plan.counts);
  }
}

void Table::update(UniqueKeys& unique, const StepTime& now, std::int64_t event_ms) noexcept {
  create(unique);
  const std::int64_t clock_ms = std::max(now.clock_ms, event_ms);
  for (const std::uint32_t i : unique.refused)
    admission_.count(unique.keys[i], unique.hashes[i], unique.counts[i], clock_ms, event_ms);
  if (format_.plain()) {
    update_plain(unique, now.step, event_ms);
  } else {
    update_formatted(unique, now.step, event_ms);
  }
  if (!settings_.thresholds.empty()) promote(unique);
  evict(unique.eviction, now.step + 1, clock_ms);
}

}  // namespace springtide
