// SPDX-License-Identifier: Apache-2.0
#include "table.hpp"

#include <algorithm>

#include "hash.hpp"
#include "past_caches.hpp"

namespace springtide {
namespace {

constexpr std::uint64_t kRoundingDomain = 0x726f756e64696e67ULL;

SlotLayout slots_of(const Optimizer& optimizer, bool trainable) {
  return trainable ? optimizer.slots() : SlotLayout{0, 0};
}

}  // namespace

Table::Table(TableSettings settings, bool trainable)
    : settings_(std::move(settings)),
      trainable_(trainable),
      optimizer_(settings_.optimizer),
      format_{settings_.dims, settings_.precision, slots_of(optimizer_, trainable),
              trainable && settings_.eviction.step_ttl != 0},
      initializer_(settings_.initializer, settings_.seed, settings_.name),
      rounding_stream_(initializer_.stream() ^ kRoundingDomain),
      admission_(settings_.admission, settings_.seed, settings_.name),
      eviction_(trainable ? settings_.eviction : EvictionSettings{}),
      rows_(format_.all_row_bytes(), trainable) {}

std::size_t Table::bytes() const noexcept { return rows_.bytes() + admission_.bytes() + optimizer_.bytes(); }

// What the table will store of coordinates [begin, end): rounded to its precision.
void Table::fill_initial_values(std::int64_t key, float* values, std::size_t begin, std::size_t end) const noexcept {
  initializer_.fill(key, values, begin, end);
  if (format_.precision == Precision::kFloat32) return;
  for (std::size_t d = begin; d < end; ++d) {
    const std::uint16_t half = to_nearest(values[d], format_.precision);
    widen(&half, 1, format_.precision, values + d);
  }
}

void Table::read_absent(UniqueKeys& unique, std::size_t at, const StepTime* now) const {
  float* values = unique.values.data() + at * dim();
  const bool admitted =
      now == nullptr ? admission_.always()
                     : admission_.admits(unique.keys[at], unique.hashes[at], unique.counts[at], now->step, now->clock_ms);
  (admitted ? unique.created : unique.refused).push_back(static_cast<std::uint32_t>(at));
  fill_new(unique.keys[at], admitted, values);
}

void Table::fill_new(std::int64_t key, bool admitted, float* values) const noexcept {
  if (admitted) {
    fill_initial_values(key, values, 0, format_.dims.front());
    std::fill(values + format_.dims.front(), values + dim(), 0.0F);
  } else {
    std::fill(values, values + dim(), settings_.admission.not_admitted);
  }
}

bool Table::read_new(std::int64_t key, float* values) const noexcept {
  fill_new(key, admission_.always(), values);
  return admission_.always();
}

template <std::size_t kDim>
void Table::read_rows(UniqueKeys& unique, const StepTime* now) const {
  const RowStore& store = rows_.store;
  const std::size_t value_part = format_.value_part(static_cast<unsigned>(format_.dims.size() - 1));
  const std::size_t bytes = kDim != 0 ? kDim * sizeof(float) : value_part;
  rows_.find_each(unique.keys.data(), unique.hashes.data(), unique.count, bytes, [&](std::size_t at, std::uint32_t r) {
    unique.rows[at] = r;
    if (r == kNoRow) {
      read_absent(unique, at, now);
    } else if constexpr (kDim != 0) {
      std::memcpy(unique.values.data() + at * kDim, store.row(r), kDim * sizeof(float));
    } else {
      const unsigned rung = store.rung(r);
      float* values = unique.values.data() + at * dim();
      format_.read_values(store.row(r), rung, values);
      std::fill(values + format_.dims[rung], values + dim(), 0.0F);
    }
  });
}

void Table::prepare_to_read(UniqueKeys& unique) const {
  ensure(unique.rows, unique.count);
  ensure(unique.values, unique.count * dim());
  unique.created.clear();
  unique.refused.clear();
  // Either may get every key.
  reserve_more(unique.created, unique.count);
  reserve_more(unique.refused, unique.count);
}

void Table::read(UniqueKeys& unique, const StepTime* now) const {
  rows_.reach(unique.hashes.data(), unique.count);
  prepare_to_read(unique);
  switch (format_.plain() ? dim() : 0) {
    case 4:
      return read_rows<4>(unique, now);
    case 8:
      return read_rows<8>(unique, now);
    case 16:
      return read_rows<16>(unique, now);
    case 32:
      return read_rows<32>(unique, now);
    default:
      return read_rows<0>(unique, now);
  }
}

double Table::half_norm(std::uint32_t r) const noexcept {
  const unsigned rung = rows_.store.rung(r);
  double sum = 0;
  for (std::size_t d = 0; d < format_.dims[rung]; ++d) {
    float value;
    if (format_.precision == Precision::kFloat32) {
      std::memcpy(&value, rows_.store.row(r) + d * sizeof(float), sizeof value);
    } else {
      widen(reinterpret_cast<const std::uint16_t*>(rows_.store.row(r)) + d, 1, format_.precision, &value);
    }
    sum += static_cast<double>(value) * static_cast<double>(value);
  }
  return sum / 2;
}

unsigned Table::rung_for(std::uint32_t frequency) const noexcept {
  unsigned rung = 0;
  while (rung < settings_.thresholds.size() && frequency >= settings_.thresholds[rung]) ++rung;
  return rung;
}

// A replica keeps no frequency; what lies beyond a row's own coordinates is zero.
unsigned Table::imported_rung(const RowBlockView& rows, std::size_t at) const noexcept {
  if (format_.dims.size() == 1) return 0;
  if (trainable_) return rung_for(rows.frequency[at]);
  std::size_t used = dim();
  while (used > 0 && rows.values[at * dim() + used - 1] == 0) --used;
  unsigned rung = 0;
  while (format_.dims[rung] < used) ++rung;
  return rung;
}

RowBlock Table::room_for(std::size_t count) const {
  RowBlock block;
  block.keys.resize(count);
  block.values.resize(count * dim());
  block.slots.resize(count * slot_width());
  block.frequency.resize(count);
  block.last_seen.resize(count);
  return block;
}

void Table::copy(Copy& changed, std::size_t begin, std::size_t end) const noexcept {
  constexpr std::size_t kAhead = 24;
  const RowStore& store = rows_.store;
  RowBlock& block = changed.block;
  const std::uint32_t* rows = changed.rows.data();
  const std::size_t width = slot_width();
  const bool plain = format_.plain();  // then the stamp, too, is one more float at the end
  const std::size_t row_bytes = format_.row_bytes(static_cast<unsigned>(format_.dims.size() - 1));
  for (std::size_t i = begin; i < end; ++i) {
    if (i + kAhead < end) store.prefetch(rows[i + kAhead], row_bytes);
    const std::uint32_t r = rows[i];
    if (plain) {
      stream_floats(reinterpret_cast<const float*>(store.row(r)), dim(), block.values.data() + i * dim());
      stream_floats(reinterpret_cast<const float*>(store.row(r)) + dim(), width, block.slots.data() + i * width);
    } else {
      format_.export_row(store.row(r), store.rung(r), block.values.data() + i * dim(), block.slots.data() + i * width);
    }
    block.keys[i] = store.key(r);
    block.frequency[i] = store.frequency(r);
    block.last_seen[i] = store.last_seen(r);
  }
  end_streaming();
}

Table::Copy Table::changes() {
  KeyedRows::Changes changed = rows_.changes();
  Copy copy{std::move(changed.rows), {}};
  copy.block = room_for(copy.rows.size());
  copy.block.tombstones = std::move(changed.tombstones);
  copy.block.admission = admission_.changes();
  return copy;
}

void Table::forget_changes() noexcept {
  rows_.forget_changes();
  admission_.forget_changes();
}

RowBlock Table::all() const {
  Copy every;
  every.rows.reserve(size());
  rows_.store.each([&](std::uint32_t r) { every.rows.push_back(r); });
  every.block = room_for(every.rows.size());
  copy(every, 0, every.rows.size());
  every.block.admission = admission_.all();
  return std::move(every.block);
}

void Table::import(const RowBlockView& rows) {
  constexpr std::size_t kChunk = 1024;
  Array<std::uint64_t> hashes(rows.count, 0);
  Array<std::uint32_t> found(rows.count, 0);
  for (std::size_t i = 0; i < rows.count; ++i) hashes[i] = hash_key(rows.keys[i]);
  const auto find = [&](std::size_t begin, std::size_t count) {
    rows_.find_each(rows.keys + begin, hashes.data() + begin, count, 0,
                    [&](std::size_t at, std::uint32_t r) { found[begin + at] = r; });
  };
  find(0, rows.count);
  Array<std::uint64_t> missing;
  missing.reserve(rows.count);
  std::size_t per_rung[kMaxRungs] = {};
  for (std::size_t i = 0; i < rows.count; ++i) {
    const unsigned rung = imported_rung(rows, i);
    if (found[i] == kNoRow) missing.push_back(hashes[i]);
    if (found[i] == kNoRow || rows_.store.rung(found[i]) != rung || format_.dims.size() > 1) ++per_rung[rung];
  }
  for (unsigned rung = 0; rung < format_.dims.size(); ++rung) rows_.store.reserve(rung, per_rung[rung]);
  rows_.index.reserve(missing.data(), missing.size());
  // A row that changes its size is taken out and put in anew, and its mark goes with it.
  if (format_.dims.size() > 1) rows_.reserve_touches(rows.count);
  // From here on nothing can fail. Erasing frees what the same key would take again, so the reserve still holds.
  for (std::size_t i = 0; i < rows.tombstone_count; ++i) {
    const std::uint32_t r = rows_.find(rows.tombstones[i]);
    if (r != kNoRow) rows_.remove(r, hash_key(rows.tombstones[i]));
  }
  for (std::size_t begin = 0; begin < rows.count; begin += kChunk) {
    const std::size_t count = std::min(kChunk, rows.count - begin);
    find(begin, count);
    for (std::size_t i = begin; i < begin + count; ++i) {
      std::uint32_t r = found[i];
      const unsigned rung = imported_rung(rows, i);
      // Absent before this chunk, or moved since: an equal key earlier in the chunk may have done that.
      if (r == kNoRow || format_.dims.size() > 1) r = rows_.index.find(hashes[i], rows.keys[i]);
      if (r == kNoRow) {
        r = rows_.take_unchanged(rung, rows.keys[i], hashes[i]);
      } else if (rows_.store.rung(r) != rung) {
        r = rows_.move(r, hashes[i], rung);
      }
      format_.import_row(rows_.store.row(r), rung, rows.values + i * dim(),
                         trainable_ ? rows.slots + i * slot_width() : nullptr);
      if (trainable_) rows_.store.set_metadata(r, rows.frequency[i], rows.last_seen[i]);
    }
  }
}

}  // namespace springtide
