// SPDX-License-Identifier: Apache-2.0
#include "keyed_rows.hpp"

#include <algorithm>

namespace springtide {
void KeyedRows::reach(const std::uint64_t* hashes, std::size_t count) const {
  if (!store.tiered()) return;
  Array<std::uint32_t> rows;
  rows.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t likely = BucketIndex::likely(*index.home_bucket(hashes[i]), hashes[i]);
    if (likely != kNoRow) rows.push_back(likely);
  }
  store.reach(rows.data(), rows.size());
}

std::uint32_t KeyedRows::move(std::uint32_t r, std::uint64_t hash, unsigned rung) noexcept {
  const std::uint32_t to = store.take(rung, store.key(r));
  store.set_metadata(to, store.frequency(r), store.last_seen(r));
  index.replace(hash, r, to);
  store.clear_touched(to);  // of the row that had this place before
  if (store.touched(r)) touch(to);
  store.give_back(r);
  removed_ = true;
  return to;
}

void KeyedRows::evict(std::uint32_t* victims, std::size_t count) noexcept {
  std::sort(victims, victims + count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t key = store.key(victims[i]);
    remove(victims[i], hash_key(key));
    note_erased(key);
  }
}

std::size_t KeyedRows::erase(const std::int64_t* keys, std::size_t count) {
  reserve_erased(count);
  std::size_t present = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t r = find(keys[i]);
    if (r == kNoRow) continue;
    remove(r, hash_key(keys[i]));
    note_erased(keys[i]);
    ++present;
  }
  return present;
}

KeyedRows::Changes KeyedRows::changes() {
  Changes changed;
  changed.tombstones.reserve(erased_.size());
  reserve_more(touched_, erased_.size());
  for (const std::int64_t key : erased_) {
    const std::uint32_t r = find(key);
    if (r == kNoRow) {
      changed.tombstones.push_back(key);
    } else {
      touch(r);  // erased and back at its initial row, which readers do not have
    }
  }
  std::sort(changed.tombstones.begin(), changed.tombstones.end());
  changed.tombstones.erase(std::unique(changed.tombstones.begin(), changed.tombstones.end()), changed.tombstones.end());
  if (!removed_) {
    changed.rows = touched_;
    return changed;
  }
  changed.rows.reserve(touched_.size());
  for (const std::uint32_t r : touched_) {
    // A removed row that nobody has taken again is still in the list, and the index does not know it. A row that an import
    // has taken has lost its mark; if a step then touched it, it is in the list twice.
    if (!store.touched(r) || find(store.key(r)) != r) continue;
    changed.rows.push_back(r);
    store.clear_touched(r);
  }
  for (const std::uint32_t r : changed.rows) store.mark_touched(r);
  return changed;
}

void KeyedRows::forget_changes() noexcept {
  store.clear_touched(touched_);
  touched_.clear();
  erased_.clear();
  removed_ = false;
}

void KeyedRows::mark_changed(const std::int64_t* keys, std::size_t count, const std::int64_t* tombstones,
                             std::size_t tombstone_count) {
  reserve_touches(count);
  reserve_erased(count + tombstone_count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t r = find(keys[i]);
    if (r == kNoRow) {
      note_erased(keys[i]);
    } else {
      touch(r);
    }
  }
  erased_.insert(erased_.end(), tombstones, tombstones + tombstone_count);
}

}  // namespace springtide
