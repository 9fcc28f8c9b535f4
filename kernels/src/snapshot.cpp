// SPDX-License-Identifier: Apache-2.0
#include "snapshot.hpp"

#include <numeric>

#include "snapshot_build.hpp"

namespace springtide {
namespace {

// An overlay is rewritten by every version, a base only now and then; beyond a tenth, lookups would notice the overlay.
constexpr std::size_t kMostChanged = 10;
// Below this, neither matters.
constexpr std::size_t kSmall = 4096;
constexpr std::size_t kMostSegments = 64;
constexpr std::size_t kBucketAhead = 16;
constexpr std::size_t kEntryAhead = 8;

// Which changed keys the base has.
Array<unsigned char> members(const HashOrder<std::int64_t>& base, const RowBlockView& rows, const Array<Change>& changes) {
  Array<unsigned char> found;
  found.resize(changes.size());
  for (std::size_t i = 0; i < changes.size() + kBucketAhead; ++i) {
    if (i < changes.size()) base.prefetch_bucket(changes[i].hash);
    if (i >= kEntryAhead && i - kEntryAhead < changes.size()) {
      const std::uint32_t likely = base.likely(changes[i - kEntryAhead].hash);
      if (likely != kNoRow) __builtin_prefetch(&base[likely]);
    }
    if (i < kBucketAhead) continue;
    const Change& change = changes[i - kBucketAhead];
    found[i - kBucketAhead] = base.find(change.hash, key_of(rows, change)) != kNoRow;
  }
  return found;
}

}  // namespace

RowFormat snapshot_format(const Table& table) { return RowFormat{{table.dim()}, table.precision(), SlotLayout{0, 0}, false}; }

Snapshot::Snapshot(std::vector<RowFormat> formats, const Blocks& all) : formats_(std::move(formats)), tables_(formats_.size()) {
  std::vector<Array<Change>> changes;
  std::vector<EntrySections<std::int64_t>> keys;
  std::vector<std::size_t> values;
  Sections sections;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    RowBlockView rows = all[t];
    rows.tombstone_count = 0;
    changes.push_back(in_hash_order(rows));
    keys.push_back(EntrySections<std::int64_t>::plan(sections, changes[t].size()));
    values.push_back(sections.take(changes[t].size() * formats_[t].row_bytes(0)));
  }
  const auto memory = std::make_shared<SealedMemory>(sections.bytes());
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    EntryWriter<std::int64_t> writer(keys[t], memory->writable());
    unsigned char* to = memory->writable() + values[t];
    for (const Change& change : changes[t]) {
      writer.add(change.hash, all[t].keys[change.at]);
      formats_[t].write_values(to, 0, all[t].values + change.at * formats_[t].dim());
      to += formats_[t].row_bytes(0);
    }
    writer.finish();
  }
  memory->seal();
  base_ = memory;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    tables_[t].base = keys[t].view(memory->data());
    tables_[t].base_values = memory->data() + values[t];
    tables_[t].rows = changes[t].size();
  }
}

std::unique_ptr<Snapshot> Snapshot::extended(const Blocks& blocks) const {
  std::unique_ptr<Snapshot> next(new Snapshot(*this));
  const auto number = static_cast<std::uint32_t>(segments_.size());
  std::vector<Array<Change>> changes;
  std::vector<Array<unsigned char>> in_base;
  std::vector<EntrySections<OverlayEntry>> entries;
  std::vector<std::size_t> values;
  Sections overlay;
  Sections segment;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    changes.push_back(in_hash_order(blocks[t]));
    in_base.push_back(members(tables_[t].base, blocks[t], changes[t]));
    std::size_t count = 0;
    std::size_t changed_rows = 0;
    walk(tables_[t].overlay, changes[t], [&](const OverlayEntry* entry, const Change* change) {
      if (change == nullptr) {
        ++count;
        return;
      }
      const bool based = in_base[t][static_cast<std::size_t>(change - changes[t].data())] != 0;
      const bool was = entry == nullptr ? based : !entry->gone();
      const bool is = !is_gone(blocks[t], *change);
      if (is || based) ++count;
      if (is) ++changed_rows;
      next->tables_[t].rows += static_cast<std::size_t>(is) - static_cast<std::size_t>(was);
    });
    entries.push_back(EntrySections<OverlayEntry>::plan(overlay, count));
    values.push_back(segment.take(changed_rows * formats_[t].row_bytes(0)));
  }
  const auto overlay_memory = std::make_shared<SealedMemory>(overlay.bytes());
  const auto segment_memory = std::make_shared<SealedMemory>(segment.bytes());
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    EntryWriter<OverlayEntry> writer(entries[t], overlay_memory->writable());
    unsigned char* const rows = segment_memory->writable() + values[t];
    std::uint32_t row = 0;
    walk(tables_[t].overlay, changes[t], [&](const OverlayEntry* entry, const Change* change) {
      if (change == nullptr) return writer.add(pack_hash(entry->key), *entry);
      const bool based = in_base[t][static_cast<std::size_t>(change - changes[t].data())] != 0;
      const std::uint32_t flag = based ? OverlayEntry::kInBase : 0;
      const std::int64_t key = key_of(blocks[t], *change);
      if (is_gone(blocks[t], *change)) {
        if (based) writer.add(change->hash, OverlayEntry{key, OverlayEntry::kGone | flag, 0});
        return;
      }
      formats_[t].write_values(rows + row * formats_[t].row_bytes(0), 0, blocks[t].values + change->at * formats_[t].dim());
      writer.add(change->hash, OverlayEntry{key, number | flag, row++});
    });
    writer.finish();
  }
  overlay_memory->seal();
  segment_memory->seal();
  next->overlay_ = overlay_memory;
  next->segments_.push_back(segment_memory);
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    next->tables_[t].overlay = entries[t].view(overlay_memory->data());
    next->tables_[t].segments.push_back(segment_memory->data() + values[t]);
  }
  return next;
}

Snapshot::Sizes Snapshot::sizes() const noexcept {
  Sizes sizes{0, 0};
  for (const TableView& view : tables_) {
    sizes.base += view.base.size();
    sizes.overlay += view.overlay.size();
  }
  return sizes;
}

bool Snapshot::compaction_due() const noexcept {
  const auto [base, overlay] = sizes();
  return overlay > base / kMostChanged + kSmall || segments_.size() >= kMostSegments;
}

std::unique_ptr<Snapshot> Snapshot::compacted() const {
  const auto [base, overlay] = sizes();
  return overlay > base / kMostChanged || base <= kSmall ? rebased() : folded();
}

// Everything into a new base.
std::unique_ptr<Snapshot> Snapshot::rebased() const {
  std::unique_ptr<Snapshot> next(new Snapshot);
  next->formats_ = formats_;
  next->tables_.resize(tables_.size());
  std::vector<EntrySections<std::int64_t>> keys;
  std::vector<std::size_t> values;
  Sections sections;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    keys.push_back(EntrySections<std::int64_t>::plan(sections, tables_[t].rows));
    values.push_back(sections.take(tables_[t].rows * formats_[t].row_bytes(0)));
  }
  const auto memory = std::make_shared<SealedMemory>(sections.bytes());
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const TableView& view = tables_[t];
    const std::size_t row_bytes = formats_[t].row_bytes(0);
    EntryWriter<std::int64_t> writer(keys[t], memory->writable());
    unsigned char* to = memory->writable() + values[t];
    const auto add = [&](std::uint64_t hash, std::int64_t key, const unsigned char* row) {
      writer.add(hash, key);
      std::memcpy(to, row, row_bytes);
      to += row_bytes;
    };
    std::uint32_t changed = 0;
    const auto add_changed = [&](std::uint64_t hash) {
      const OverlayEntry& entry = view.overlay[changed++];
      if (!entry.gone()) add(hash, entry.key, place(t, entry));
    };
    for (std::uint32_t at = 0; at < view.base.size(); ++at) {
      const std::uint64_t hash = pack_hash(view.base[at]);
      std::uint64_t other = 0;
      while (changed < view.overlay.size() && (other = pack_hash(view.overlay[changed].key)) < hash) add_changed(other);
      if (changed < view.overlay.size() && other == hash) {
        add_changed(hash);
      } else {
        add(hash, view.base[at], view.base_values + at * row_bytes);
      }
    }
    while (changed < view.overlay.size()) add_changed(pack_hash(view.overlay[changed].key));
    writer.finish();
  }
  memory->seal();
  next->base_ = memory;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    next->tables_[t].base = keys[t].view(memory->data());
    next->tables_[t].base_values = memory->data() + values[t];
    next->tables_[t].rows = tables_[t].rows;
  }
  return next;
}

// The rows of all segments into one.
std::unique_ptr<Snapshot> Snapshot::folded() const {
  std::unique_ptr<Snapshot> next(new Snapshot(*this));
  std::vector<EntrySections<OverlayEntry>> entries;
  std::vector<std::size_t> values;
  Sections overlay;
  Sections segment;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    entries.push_back(EntrySections<OverlayEntry>::plan(overlay, tables_[t].overlay.size()));
    values.push_back(segment.take(tables_[t].overlay.size() * formats_[t].row_bytes(0)));
  }
  const auto overlay_memory = std::make_shared<SealedMemory>(overlay.bytes());
  const auto segment_memory = std::make_shared<SealedMemory>(segment.bytes());
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    EntryWriter<OverlayEntry> writer(entries[t], overlay_memory->writable());
    const std::size_t row_bytes = formats_[t].row_bytes(0);
    std::uint32_t row = 0;
    for (std::uint32_t at = 0; at < tables_[t].overlay.size(); ++at) {
      OverlayEntry entry = tables_[t].overlay[at];
      if (!entry.gone()) {
        std::memcpy(segment_memory->writable() + values[t] + row * row_bytes, place(t, entry), row_bytes);
        entry.segment &= OverlayEntry::kInBase;
        entry.row = row++;
      }
      writer.add(pack_hash(entry.key), entry);
    }
    writer.finish();
  }
  overlay_memory->seal();
  segment_memory->seal();
  next->overlay_ = overlay_memory;
  next->segments_.assign(1, segment_memory);
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    next->tables_[t].overlay = entries[t].view(overlay_memory->data());
    next->tables_[t].segments.assign(1, segment_memory->data() + values[t]);
  }
  return next;
}

std::size_t Snapshot::bytes() const noexcept {
  std::size_t sum = base_->bytes() + (overlay_ == nullptr ? 0 : overlay_->bytes());
  for (const Memory& segment : segments_) sum += segment->bytes();
  return sum;
}

}  // namespace springtide
