// SPDX-License-Identifier: Apache-2.0
#include "snapshot_build.hpp"

namespace springtide {
namespace {

bool before(const Change& one, const Change& other) noexcept { return one.hash < other.hash; }

bool ascends(const Array<Change>& changes, std::size_t begin, std::size_t end) noexcept {
  for (std::size_t i = begin + 1; i < end; ++i)
    if (changes[i].hash < changes[i - 1].hash) return false;
  return true;
}

}  // namespace

Array<Change> in_hash_order(const RowBlockView& rows) {
  const std::size_t gone = rows.tombstone_count;
  Array<Change> changes;
  changes.resize(gone + rows.count);
  for (std::size_t i = 0; i < gone; ++i)
    changes[i] = Change{pack_hash(rows.tombstones[i]), static_cast<std::uint32_t>(rows.count + i)};
  for (std::size_t i = 0; i < rows.count; ++i)
    changes[gone + i] = Change{pack_hash(rows.keys[i]), static_cast<std::uint32_t>(i)};
  const auto middle = changes.begin() + static_cast<std::ptrdiff_t>(gone);
  if (!ascends(changes, 0, gone)) std::stable_sort(changes.begin(), middle, before);
  if (!ascends(changes, gone, changes.size())) std::stable_sort(middle, changes.end(), before);
  if (gone != 0 && rows.count != 0) {
    Array<Change> merged;
    merged.resize(changes.size());
    std::merge(changes.begin(), middle, middle, changes.end(), merged.begin(), before);
    changes.swap(merged);
  }
  // Of equal keys the last one counts.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (kept != 0 && changes[kept - 1].hash == changes[i].hash) --kept;
    changes[kept++] = changes[i];
  }
  changes.resize(kept);
  return changes;
}

}  // namespace springtide
