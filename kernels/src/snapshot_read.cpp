// The reading half of a snapshot; how it is made is in snapshot.cpp.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "keyed_rows.hpp"
#include "snapshot.hpp"

namespace springtide {
namespace {

// Three-stage prefetch: buckets, then what they name, then, once it is known which row it is, that row.
constexpr std::size_t kBucketAhead = 40;
constexpr std::size_t kEntryAhead = 28;
constexpr std::size_t kRowAhead = 12;

}  // namespace

const unsigned char* Snapshot::resolve(const TableView& view, std::uint64_t hash, std::int64_t key,
                                       std::size_t row_bytes) const noexcept {
  const std::uint32_t changed = view.overlay.find(hash, key);
  if (changed != kNoRow) {
    const OverlayEntry& entry = view.overlay[changed];
    return entry.gone() ? nullptr : view.segments[entry.number()] + std::size_t{entry.row} * row_bytes;
  }
  const std::uint32_t row = view.base.find(hash, key);
  return row == kNoRow ? nullptr : view.base_values + std::size_t{row} * row_bytes;
}

// Finds the row of each of `count` keys and tells `take(at, place)` of it in order, null where there is none.
template <std::size_t kDim, class Take>
void Snapshot::find_each(std::size_t t, const std::int64_t* keys, std::size_t count, const Take& take) const {
  const TableView& view = tables_[t];
  const std::size_t row_bytes = kDim != 0 ? kDim * sizeof(float) : formats_[t].row_bytes(0);
  // Not UniqueKeys::hashes, which are others: shared rows are drawn from those.
  constexpr std::size_t kRing = 64;
  std::uint64_t hashes[kRing];
  const unsigned char* places[kRing];
  static_assert(kRing > kBucketAhead, "a row is copied before its place is reused");
  for (std::size_t i = 0; i < count + kBucketAhead; ++i) {
    if (i < count) {
      const std::uint64_t hash = pack_hash(keys[i]);
      hashes[i % kRing] = hash;
      view.overlay.prefetch_bucket(hash);
      view.base.prefetch_bucket(hash);
    }
    if (const std::size_t at = i - (kBucketAhead - kEntryAhead); at < count) {
      const std::uint64_t hash = hashes[at % kRing];
      const std::uint32_t changed = view.overlay.likely(hash);
      if (changed != kNoRow) {
        __builtin_prefetch(&view.overlay[changed]);
      } else if (const std::uint32_t row = view.base.likely(hash); row != kNoRow) {
        __builtin_prefetch(&view.base[row]);
        prefetch_lines(view.base_values + row * row_bytes, row_bytes);
      }
    }
    if (const std::size_t at = i - (kBucketAhead - kRowAhead); at < count) {
      const unsigned char* place = resolve(view, hashes[at % kRing], keys[at], row_bytes);
      places[at % kRing] = place;
      if (place != nullptr) prefetch_lines(place, row_bytes);
    }
    if (i >= kBucketAhead) take(i - kBucketAhead, places[(i - kBucketAhead) % kRing]);
  }
}

template <std::size_t kDim>
void Snapshot::read_rows(std::size_t t, const Table& settings, UniqueKeys& unique) const {
  const RowFormat& format = formats_[t];
  const std::size_t dim = format.dim();
  const std::int64_t* keys = unique.keys.data();
  find_each<kDim>(t, keys, unique.count, [&](std::size_t at, const unsigned char* place) {
    float* values = unique.values.data() + at * dim;
    unique.rows[at] = place == nullptr ? kNoRow : 0;
    if (place == nullptr) {
      const bool admitted = settings.read_new(keys[at], values);
      (admitted ? unique.created : unique.refused).push_back(static_cast<std::uint32_t>(at));
    } else if constexpr (kDim != 0) {
      std::memcpy(values, place, kDim * sizeof(float));
    } else {
      format.read_values(place, 0, values);
    }
  });
}

template <std::size_t kDim>
void Snapshot::read_column(const DirectColumn& column, Array<AbsentKey>& absent) const {
  const RowFormat& format = formats_[column.table];
  find_each<kDim>(column.table, column.keys, column.count, [&](std::size_t at, const unsigned char* place) {
    float* values = column.out + at * column.stride;
    if (place == nullptr) {
      column.settings->read_new(column.keys[at], values);
      absent.push_back(AbsentKey{column.table, column.keys[at]});
    } else if constexpr (kDim != 0) {
      std::memcpy(values, place, kDim * sizeof(float));
    } else {
      format.read_values(place, 0, values);
    }
  });
}

void Snapshot::read_column(const DirectColumn& column, Array<AbsentKey>& absent) const {
  switch (formats_[column.table].plain() ? formats_[column.table].dim() : 0) {
    case 4:
      return read_column<4>(column, absent);
    case 8:
      return read_column<8>(column, absent);
    case 16:
      return read_column<16>(column, absent);
    case 32:
      return read_column<32>(column, absent);
    default:
      return read_column<0>(column, absent);
  }
}

void Snapshot::ask_for_bucket(const DirectColumn& column) const noexcept {
  const std::uint64_t hash = pack_hash(*column.keys);
  tables_[column.table].overlay.prefetch_bucket(hash);
  tables_[column.table].base.prefetch_bucket(hash);
}

void Snapshot::ask_for_row(const DirectColumn& column) const noexcept {
  const TableView& view = tables_[column.table];
  const std::size_t row_bytes = formats_[column.table].row_bytes(0);
  const std::uint64_t hash = pack_hash(*column.keys);
  if (const std::uint32_t changed = view.overlay.likely(hash); changed != kNoRow) {
    __builtin_prefetch(&view.overlay[changed]);
  } else if (const std::uint32_t row = view.base.likely(hash); row != kNoRow) {
    __builtin_prefetch(&view.base[row]);
    prefetch_lines(view.base_values + row * row_bytes, row_bytes);
  }
}

void Snapshot::read(std::size_t table, const Table& settings, UniqueKeys& unique) const {
  settings.prepare_to_read(unique);
  switch (formats_[table].plain() ? formats_[table].dim() : 0) {
    case 4:
      return read_rows<4>(table, settings, unique);
    case 8:
      return read_rows<8>(table, settings, unique);
    case 16:
      return read_rows<16>(table, settings, unique);
    case 32:
      return read_rows<32>(table, settings, unique);
    default:
      return read_rows<0>(table, settings, unique);
  }
}

}  // namespace springtide
